#include "recode/png_band_writer.hpp"

#include <libdeflate.h>
#include <zlib.h>

#include <algorithm>
#include <climits>
#include <cstring>
#include <new>
#include <optional>

#include "bands/literal_block.hpp"
#include "base/big_endian.hpp"
#include "base/buffer.hpp"
#include "png/png_inflate.hpp"
#include "recode/png_filter.hpp"

namespace gs::png {
namespace {

using Bytes = std::vector<std::uint8_t>;

// How many thousandths of its bands' own codes a shared code may take.
constexpr std::uint64_t kSharingMayCost = 1004;

constexpr std::size_t kKeptBytes = std::size_t{64} << 20;

// An empty stored block ends a band at a byte border.
constexpr std::uint8_t kFlush[4] = {0x00, 0x00, 0xFF, 0xFF};

void append(Bytes& out, const std::uint8_t* from, std::size_t size) {
    out.insert(out.end(), from, from + size);
}

void count_bytes(const std::uint8_t* p, std::size_t size, std::uint32_t counts[256]) {
    std::uint32_t part[4][256] = {};  // four, so that equal neighbours do not wait for each other
    std::size_t i = 0;
    for (; i + 4 <= size; i += 4)
        for (std::size_t k = 0; k < 4; k++) part[k][p[i + k]]++;
    for (; i < size; i++) part[0][p[i]]++;
    for (int v = 0; v < 256; v++) counts[v] = part[0][v] + part[1][v] + part[2][v] + part[3][v];
}

// One band's filtered rows, `rows` of them, `row` bytes each.
struct Band {
    const std::uint8_t* data;
    std::size_t row;
    int rows;
    bool last;

    std::size_t size() const { return row * static_cast<std::size_t>(rows); }
};

std::uint64_t coded_bits(const std::uint32_t counts[256], const LiteralCode& code) {
    std::uint64_t bits = 0;
    for (int v = 0; v < 256; v++) bits += std::uint64_t{counts[v]} * code.lengths[v];
    return bits;
}

// A code for every band. A reader needs a moment to make a code's table, so neighbours share one where that
// costs little; it recognises the same code by the same header.
std::vector<LiteralCode> choose_codes(const std::vector<std::uint32_t>& counts, std::size_t bands) {
    std::vector<LiteralCode> codes;
    std::uint32_t shared[256];
    std::uint64_t apart = 0;  // bits of the group's bands, each with its own code
    std::size_t begin = 0;
    for (std::size_t b = 0; b < bands; b++) {
        const std::uint32_t* own = counts.data() + 256 * b;
        codes.push_back(make_literal_code(own));
        const std::uint64_t own_bits = coded_bits(own, codes.back());
        if (b > begin) {
            std::uint32_t together[256];
            for (int v = 0; v < 256; v++) together[v] = shared[v] + own[v];
            const LiteralCode code = make_literal_code(together);
            const std::uint64_t bits = coded_bits(together, code);
            if (bits <= (apart + own_bits) * kSharingMayCost / 1000) {
                std::copy_n(together, 256, shared);
                apart += own_bits;
                std::fill(codes.begin() + static_cast<std::ptrdiff_t>(begin), codes.end(), code);
                continue;
            }
        }
        std::copy_n(own, 256, shared);
        apart = own_bits;
        begin = b;
    }
    return codes;
}

// `coded` is what the symbols take.
bool write_literals(const Header& header, const BandShape& shape, const Band& band, const LiteralCode& code,
                    std::uint64_t coded, WrittenBands& to) {
    const std::size_t used = to.data.size();
    to.data.resize(used + kMaxLiteralHeader + coded / 8 + 16);
    BitWriter bits(to.data.data() + used);
    put_literal_header(bits, code, band.last);
    put16(to.records, static_cast<std::uint32_t>(bits.bits()));
    const int tiles = shape.tiles(header);
    const std::size_t tile_bytes = header.row_bytes(shape.tile_width);
    for (int y = 0; y < band.rows; y += shape.segment_rows) {
        const std::uint8_t* row = band.data + band.row * static_cast<std::size_t>(y);
        const int rows = std::min(shape.segment_rows, band.rows - y);
        for (int t = 0; t < tiles; t++) {
            // The first tile of a row has its filter byte in front.
            const std::size_t begin = t == 0 ? 0 : 1 + tile_bytes * static_cast<std::size_t>(t);
            const std::size_t end = t + 1 == tiles ? band.row * static_cast<std::size_t>(rows)
                                                   : 1 + tile_bytes * (static_cast<std::size_t>(t) + 1);
            const std::size_t before = bits.bits();
            bits.put_symbols(row + begin, end - begin, code.codes, code.lengths);
            const std::size_t taken = bits.bits() - before;
            if (taken > 65535) return false;
            put16(to.records, static_cast<std::uint32_t>(taken));
        }
    }
    bits.put(code.codes[256], code.lengths[256]);
    if (!band.last) bits.put(0, 3);  // the header of a stored block that is not the last
    bits.align();
    to.data.resize(static_cast<std::size_t>(bits.end() - to.data.data()));
    if (!band.last) append(to.data, kFlush, 4);
    return true;
}

// The pixels left of every tile but the first.
void write_left_pixels(const Header& header, const BandShape& shape, const std::uint8_t* rows,
                       std::size_t stride, int count, Bytes& to) {
    const std::size_t pixel = header.row_bytes(1);
    for (int y = 0; y < count; y++, rows += stride)
        for (int t = 1; t < shape.tiles(header); t++)
            append(to, rows + header.row_bytes(t * shape.tile_width) - pixel, pixel);
}

bool write_stored(const Header& header, const BandShape& shape, const Band& band, Bytes& to) {
    const int step = shape.stored_rows(header);
    if (step == 0) return false;
    for (int y = 0; y < band.rows; y += step) {
        const int rows = std::min(step, band.rows - y);
        const std::size_t size = band.row * static_cast<std::size_t>(rows);
        const auto low = static_cast<std::uint8_t>(size), high = static_cast<std::uint8_t>(size >> 8);
        const bool final_block = band.last && y + rows == band.rows;
        const std::uint8_t head[5] = {static_cast<std::uint8_t>(final_block), low, high,
                                      static_cast<std::uint8_t>(~low), static_cast<std::uint8_t>(~high)};
        append(to, head, 5);
        append(to, band.data + band.row * static_cast<std::size_t>(y), size);
    }
    return true;
}

// Filters the whole image into `out`, each band alone; `counts` (256 per band) gets how often
// each byte occurs.
void filter_bands(const Header& header, const BandShape& shape, int effort, const std::uint8_t* rows,
                  std::size_t stride, std::uint8_t* out, std::vector<std::uint32_t>& counts) {
    const std::size_t size = header.row_bytes(header.width), row = size + 1;
    const auto distance = static_cast<std::size_t>(header.filter_distance());
    // Samples of less than a byte and palette indices are no quantities: filters only disturb them.
    const bool plain =
        shape.coding == BandCoding::stored || header.color == Color::palette || header.bit_depth < 8;
    Bytes scratch(row + 256);
    FilterChooser chooser;
    for (int y = 0; y < header.height; y++, rows += stride, out += row) {
        const int in_band = y % shape.band_rows;
        if (plain) {
            out[0] = kNone;
            std::memcpy(out + 1, rows, size);
        } else {
            chooser.filter(rows, in_band == 0 ? nullptr : rows - stride, size, distance, effort, out,
                           scratch.data());
        }
        if (in_band + 1 < shape.band_rows && y + 1 < header.height) continue;
        std::uint32_t* of_band = counts.data() + 256 * static_cast<std::size_t>(y / shape.band_rows);
        count_bytes(out - row * static_cast<std::size_t>(in_band),
                    row * static_cast<std::size_t>(in_band + 1), of_band);
        chooser.learn(of_band);
    }
}

// zlib's deflate with a full flush after each band: its bytes are the same with every version.
class Deflater {
  public:
    explicit Deflater(int level) {
        if (deflateInit2(&z_, level, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY) != Z_OK) throw std::bad_alloc();
    }
    ~Deflater() { deflateEnd(&z_); }
    Deflater(const Deflater&) = delete;
    Deflater& operator=(const Deflater&) = delete;

    bool write(const Band& band, Bytes& to) {
        if (band.size() > UINT_MAX) return false;
        z_.next_in = const_cast<Bytef*>(band.data);
        z_.avail_in = static_cast<uInt>(band.size());
        do {
            const std::size_t at = to.size();
            to.resize(at + 65536);
            z_.next_out = to.data() + at;
            z_.avail_out = 65536;
            deflate(&z_, band.last ? Z_FINISH : Z_FULL_FLUSH);
            to.resize(to.size() - z_.avail_out);
        } while (z_.avail_out == 0);
        return true;
    }

  private:
    z_stream z_{};
};

// libdeflate compresses better and faster than zlib, but every stream that it writes ends with a last block.
// That block's mark is taken back, and an empty stored block put behind it.
class BandDeflater {
  public:
    explicit BandDeflater(int level) : z_(libdeflate_alloc_compressor(level)) {
        if (z_ == nullptr) throw std::bad_alloc();
    }
    ~BandDeflater() { libdeflate_free_compressor(z_); }
    BandDeflater(const BandDeflater&) = delete;
    BandDeflater& operator=(const BandDeflater&) = delete;

    bool write(const Band& band, Bytes& to) {
        const std::size_t used = to.size();
        to.resize(used + libdeflate_deflate_compress_bound(z_, band.size()) + 16);
        std::uint8_t* const at = to.data() + used;
        const std::size_t size =
            libdeflate_deflate_compress(z_, band.data, band.size(), at, to.size() - used);
        if (size == 0) return false;
        to.resize(used + size);
        if (band.last) return true;
        std::size_t begin = 0, end = 0;
        std::uint8_t* const rows = rows_.reserve(band.size() + kInflateSlack);
        if (!inflater_.find_last_block({at, size}, rows, band.size(), begin, end)) return false;
        at[begin / 8] = static_cast<std::uint8_t>(at[begin / 8] & ~(1u << begin % 8));
        // The header of a stored block that is not the last: three zero bits, which may need one byte more.
        to.resize(used + (end + 3 + 7) / 8, 0);
        append(to, kFlush, 4);
        return true;
    }

  private:
    libdeflate_compressor* z_;
    Inflater inflater_;
    Buffer rows_;
};

}  // namespace

bool write_bands(const Header& header, const BandShape& shape, const BandEffort& effort,
                 const std::uint8_t* rows, std::size_t stride, WrittenBands& to) {
    to.data.clear();
    to.ends.clear();
    to.records.clear();
    const auto bands = static_cast<std::size_t>(shape.bands(header));
    const std::size_t row = 1 + header.row_bytes(header.width);
    const bool literals = shape.coding == BandCoding::literals;
    Buffer own_rows;
    static thread_local Buffer kept_rows;  // for images of usual size
    const std::size_t size = row * static_cast<std::size_t>(header.height);
    Buffer& filtered_rows = size <= kKeptBytes ? kept_rows : own_rows;
    std::uint8_t* const filtered = filtered_rows.reserve(size);
    std::vector<std::uint32_t> counts(256 * bands);
    filter_bands(header, shape, effort.filters, rows, stride, filtered, counts);
    std::vector<LiteralCode> codes;
    if (literals) codes = choose_codes(counts, bands);
    std::optional<Deflater> steady;
    std::optional<BandDeflater> strong;
    if (shape.coding == BandCoding::deflate) {
        if (effort.deflate == 0)
            steady.emplace(6);
        else
            strong.emplace(effort.deflate);
    }

    to.data.reserve(row * static_cast<std::size_t>(header.height) * 5 / 8);
    to.data.push_back(0x78);  // zlib: deflate with a window of 32 KiB
    to.data.push_back(0x01);
    for (std::size_t b = 0; b < bands; b++) {
        const std::size_t top = b * static_cast<std::size_t>(shape.band_rows);
        const Band band{filtered + row * top, row, shape.rows(header, static_cast<int>(b)), b + 1 == bands};
        bool done = false;
        if (shape.coding == BandCoding::stored) {
            done = write_stored(header, shape, band, to.data);
        } else if (shape.coding == BandCoding::deflate) {
            done = steady ? steady->write(band, to.data) : strong->write(band, to.data);
        } else {
            done = write_literals(header, shape, band, codes[b],
                                  coded_bits(counts.data() + 256 * b, codes[b]), to);
            write_left_pixels(header, shape, rows + stride * top, stride, band.rows, to.records);
        }
        if (!done) return false;
        if (band.last) put32(to.data, libdeflate_adler32(1, filtered, size));
        to.ends.push_back(to.data.size());
        if (to.data.size() > UINT_MAX) return false;
    }
    return true;
}

}  // namespace gs::png
