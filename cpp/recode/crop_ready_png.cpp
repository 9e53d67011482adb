#include "recode/crop_ready_png.hpp"

#include <libdeflate.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "bands/png_band_reader.hpp"
#include "base/big_endian.hpp"
#include "base/buffer.hpp"
#include "png/png_container.hpp"
#include "recode/png_band_writer.hpp"

namespace gs {
namespace {

using png::BandCoding;
using png::BandShape;
using png::Header;

constexpr std::size_t kFirstChunk = 8, kIhdrAt = 16, kIhdrBytes = 13;
// Literals are kept unless they make the image data larger than this share of the original's ...
constexpr double kLiteralsMayCost = 1.30;
// ... and a recoded image that grows beyond this stays as it is (but for level 0, which asks for it ...
constexpr double kMayCost = 1.25;
// ... up to this: flat images would grow a thousandfold).
constexpr double kStoredMayCost = 4;

// Chunks that depend on the image data, but by its pixels and not by its coding (sections 11.3 and 14.2 of
// the specification): they may stay, since the pixels stay.
bool may_stay(const std::uint8_t* type) {
    const bool safe_to_copy = (type[3] & 0x20) != 0;
    static const char* const kKnown[] = {"cHRM", "gAMA", "iCCP", "sBIT", "sRGB", "cICP",
                                         "mDCV", "cLLI", "bKGD", "hIST", "tRNS", "sPLT",
                                         "tIME", "oFFs", "pCAL", "sCAL", "sTER"};
    return safe_to_copy || std::any_of(std::begin(kKnown), std::end(kKnown),
                                       [type](const char* k) { return std::memcmp(type, k, 4) == 0; });
}

// What goes with the old coding: offsets into it, by Apple's tools and by this project's.
bool is_of_the_coding(const std::uint8_t* type) {
    return std::memcmp(type, "iDOT", 4) == 0 || std::memcmp(type, "gsBD", 4) == 0;
}

struct Kept {
    std::vector<ByteView> before;  // whole chunks between IHDR and the image data
    std::vector<ByteView> after;   // behind it, IEND and what follows it included
    const char* obstacle = nullptr;
};

// The file is known to be sound: read_chunks has been through it.
Kept sort_chunks(ByteView bytes) {
    Kept kept;
    bool data_seen = false;
    std::size_t at = kIhdrAt + kIhdrBytes + 4;
    while (true) {
        const std::uint8_t* chunk = bytes.data + at;
        const std::uint8_t* type = chunk + 4;
        const std::size_t size = std::size_t{12} + big32(chunk);
        if (std::memcmp(type, "IEND", 4) == 0) break;
        at += size;
        if (std::memcmp(type, "IDAT", 4) == 0) {
            data_seen = true;
            continue;
        }
        if (std::memcmp(type, "acTL", 4) == 0) kept.obstacle = "animated";
        const bool critical = (type[0] & 0x20) == 0;
        if (is_of_the_coding(type)) continue;
        if (!critical && !may_stay(type) && kept.obstacle == nullptr)
            kept.obstacle = "chunks of unknown meaning that depend on the image data";
        (data_seen ? kept.after : kept.before).push_back({chunk, size});
    }
    kept.after.push_back({bytes.data + at, bytes.size - at});
    return kept;
}

// Whether level 0 can have what it asks for: a stored block must hold a row, and the file must not explode.
bool may_be_stored(const Header& header, const BandShape& shape, std::size_t old_size) {
    const double size = static_cast<double>(1 + header.row_bytes(header.width)) * header.height;
    return shape.stored_rows(header) > 0 && size <= kStoredMayCost * static_cast<double>(old_size);
}

BandShape literal_shape(const Header& header, const PngRecodeOptions& options) {
    BandShape shape{BandCoding::literals, options.band_rows, 1, 0};
    const std::size_t row = 1 + header.row_bytes(header.width);
    if (options.tile_width > 0 && header.bits_per_pixel() >= 8 && header.width >= 3 * options.tile_width)
        shape.tile_width = options.tile_width;
    else  // Narrow images: a crop needs most of each row, so an entry every kilobyte or so is enough.
        shape.segment_rows = static_cast<int>(std::clamp<std::size_t>(1536 / row, 1, 8));
    return shape;
}

void put_chunk(std::vector<std::uint8_t>& out, const char* type, const std::uint8_t* data, std::size_t size) {
    put32(out, static_cast<std::uint32_t>(size));
    out.insert(out.end(), type, type + 4);
    out.insert(out.end(), data, data + size);
    put32(out, libdeflate_crc32(0, out.data() + out.size() - size - 4, size + 4));
}

void assemble(ByteView bytes, const Header& header, const BandShape& shape, const Kept& kept,
              const png::WrittenBands& bands, std::vector<std::uint8_t>& out) {
    std::vector<std::uint8_t> entries;
    std::size_t begin = 0;
    for (const std::size_t end : bands.ends) {
        put32(entries, static_cast<std::uint32_t>(end - begin));
        const std::uint32_t type_crc = libdeflate_crc32(0, "IDAT", 4);
        put32(entries, libdeflate_crc32(type_crc, bands.data.data() + begin, end - begin));
        begin = end;
    }
    const std::vector<std::uint8_t> table =
        png::write_band_table(shape, header, bytes.data + kIhdrAt, entries, bands.records);
    out.reserve(bands.data.size() + 12 * bands.ends.size() + table.size() + bytes.size / 64 + 4096);
    out.insert(out.end(), bytes.data, bytes.data + kIhdrAt + kIhdrBytes + 4);
    for (const ByteView& chunk : kept.before) out.insert(out.end(), chunk.data, chunk.data + chunk.size);
    put_chunk(out, "gsBD", table.data(), table.size());
    begin = 0;
    for (const std::size_t end : bands.ends) {
        put_chunk(out, "IDAT", bands.data.data() + begin, end - begin);
        begin = end;
    }
    for (const ByteView& chunk : kept.after) out.insert(out.end(), chunk.data, chunk.data + chunk.size);
}

}  // namespace

bool is_plain_rgb(const png::Header& header) {
    return header.color == png::Color::rgb && header.bit_depth == 8 && !header.interlaced;
}

const char* make_crop_ready_png(ByteView bytes, const Header& header, const PngRecodeOptions& options,
                                const std::uint8_t* rgb, png::WholeRows& original, png::RowsView& rows,
                                std::vector<std::uint8_t>& out) {
    out.clear();
    rows = {};
    thread_local Buffer joined;
    png::Palette palette;
    const ByteView stream = png::read_chunks(bytes, header, true, palette, joined);
    const Kept kept = sort_chunks(bytes);
    if (kept.obstacle != nullptr) return kept.obstacle;
    // A table alone proves nothing: a careless editor may have copied it from another image of that header.
    if (!png::BandReader::positions(bytes, header).empty()) return "already crop-ready";
    if (header.interlaced) return "interlaced";
    if (header.width <= options.tiny_side && header.height <= options.tiny_side) return "tiny";

    png::RowsView from{rgb, header.row_bytes(header.width)};
    if (rgb == nullptr || !is_plain_rgb(header)) from = rows = original.read(header, stream);
    png::WrittenBands bands;
    BandShape shape;
    bool done = false;
    const BandShape stored = {BandCoding::stored, options.band_rows, 0, 0};
    const bool is_stored = options.level == 0 && may_be_stored(header, stored, stream.size);
    const int level = options.level == 0 ? PngRecodeOptions{}.level : options.level;
    if (is_stored) {
        shape = stored;
        done = png::write_bands(header, shape, {}, from.data, from.stride, bands);
    } else {
        shape = literal_shape(header, options);
        const int filters = std::min(2, level / 2);
        done = png::write_bands(header, shape, {filters, 1}, from.data, from.stride, bands) &&
               static_cast<double>(bands.data.size()) <= kLiteralsMayCost * static_cast<double>(stream.size);
    }
    const bool small = level > 5;
    if (!done || small) {
        const BandShape matches = {BandCoding::deflate, options.band_rows, 0, 0};
        png::WrittenBands smaller;
        constexpr int kLevels[4] = {6, 8, 10, 12};  // libdeflate's, for 6 to 9
        const int deflate = small ? kLevels[std::min(level, 9) - 6] : 0;
        if (!png::write_bands(header, matches, {small ? 2 : 1, deflate}, from.data, from.stride, smaller))
            return "rows too long";
        if (!done || smaller.data.size() < bands.data.size()) {
            bands = std::move(smaller);
            shape = matches;
        }
    }
    if (!is_stored && static_cast<double>(bands.data.size()) > kMayCost * static_cast<double>(stream.size))
        return "much larger when crop-ready";
    assemble(bytes, header, shape, kept, bands, out);
    return nullptr;
}

}  // namespace gs
