#include "bands/png_band_table.hpp"

#include <libdeflate.h>

#include "base/big_endian.hpp"

namespace gs::png {
namespace {

constexpr std::size_t kHead = 12, kEntry = 8, kCheck = 4, kIhdr = 13;
constexpr std::uint8_t kVersion = 1;

std::uint32_t check(const std::uint8_t* ihdr, const std::uint8_t* data, std::size_t size) {
    return libdeflate_crc32(libdeflate_crc32(0, ihdr, kIhdr), data, size);
}

}  // namespace

bool BandTable::parse(ByteView data, const Header& header, const std::uint8_t* ihdr) {
    if (data.size < kHead + kEntry + kCheck || data.data[0] != kVersion || data.data[1] > 2) return false;
    if (check(ihdr, data.data, data.size - kCheck) != big32(data.data + data.size - kCheck)) return false;
    shape_.coding = static_cast<BandCoding>(data.data[1]);
    shape_.band_rows = big16(data.data + 2);
    shape_.segment_rows = big16(data.data + 4);
    shape_.tile_width = big16(data.data + 6);
    const bool literals = shape_.coding == BandCoding::literals;
    if (header.interlaced || shape_.band_rows == 0) return false;
    if (literals != (shape_.segment_rows > 0) || (!literals && shape_.tile_width > 0)) return false;
    if (shape_.tile_width > 0 && (shape_.segment_rows != 1 || header.bits_per_pixel() < 8)) return false;
    if (shape_.coding == BandCoding::stored && shape_.stored_rows(header) == 0) return false;
    bands_ = shape_.bands(header);
    if (big32(data.data + 8) != static_cast<std::uint32_t>(bands_)) return false;
    record_bytes_ = shape_.record_bytes(header, shape_.band_rows);
    const std::size_t last = shape_.record_bytes(header, shape_.rows(header, bands_ - 1));
    const std::size_t full = static_cast<std::size_t>(bands_ - 1);
    // The counts come from a file: compared by division, so that no product can overflow unseen.
    const std::size_t left = data.size - kHead - kCheck;
    if (left < kEntry + last || full > (left - kEntry - last) / (kEntry + record_bytes_)) return false;
    if (left != kEntry + last + full * (kEntry + record_bytes_)) return false;
    entries_ = data.data + kHead;
    records_ = entries_ + kEntry * (full + 1);
    return true;
}

std::uint32_t BandTable::idat_bytes(int band) const {
    return big32(entries_ + kEntry * static_cast<std::size_t>(band));
}

std::uint32_t BandTable::idat_crc(int band) const {
    return big32(entries_ + kEntry * static_cast<std::size_t>(band) + 4);
}

std::vector<std::uint8_t> write_band_table(const BandShape& shape, const Header& header,
                                           const std::uint8_t* ihdr, const std::vector<std::uint8_t>& entries,
                                           const std::vector<std::uint8_t>& records) {
    std::vector<std::uint8_t> out;
    out.push_back(kVersion);
    out.push_back(static_cast<std::uint8_t>(shape.coding));
    put16(out, static_cast<std::uint32_t>(shape.band_rows));
    put16(out, static_cast<std::uint32_t>(shape.segment_rows));
    put16(out, static_cast<std::uint32_t>(shape.tile_width));
    put32(out, static_cast<std::uint32_t>(shape.bands(header)));
    out.insert(out.end(), entries.begin(), entries.end());
    out.insert(out.end(), records.begin(), records.end());
    put32(out, check(ihdr, out.data(), out.size()));
    return out;
}

}  // namespace gs::png
