#include "bands/png_band_reader.hpp"

#include <libdeflate.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "base/big_endian.hpp"
#include "png/png_rows.hpp"
#include "png/png_unfilter.hpp"

namespace gs::png {
namespace {

constexpr std::size_t kIhdrAt = 16, kFirstChunk = 33;
constexpr std::size_t kZlibHeader = 2, kAdler = 4;
constexpr std::size_t kMaxExpansion = 1032;  // of deflate

[[noreturn]] void fail(int band) {
    throw DecodeError("damaged PNG: band " + std::to_string(band) + " does not fit the table of bands");
}

bool is_type(const std::uint8_t* chunk, const char* type) {
    return std::memcmp(chunk + 4, type, 4) == 0;
}

bool crc_is_right(const std::uint8_t* chunk, std::size_t size) {
    return libdeflate_crc32(0, chunk + 4, size + 4) == big32(chunk + 8 + size);
}

}  // namespace

// What is known of the file's chunks.
struct BandReader::File {
    ByteView bytes;
    LazyBytes* lazy = nullptr;
    BandTable table{};
    Palette palette{};
    std::size_t first_idat = 0;

    bool room_for_chunk(std::size_t at) const {
        return at + 12 <= bytes.size && big32(bytes.data + at) <= bytes.size - at - 12;
    }

    // Makes sure that the bytes up to `end` are there.
    void need_front(std::size_t end) const {
        if (lazy != nullptr && end > lazy->head()) lazy->need(0, std::min(end, bytes.size));
    }

    // Walks up to the first IDAT. False without a sound table.
    bool find_table(const Header& header) {
        bool found = false;
        for (std::size_t at = kFirstChunk;;) {
            need_front(at + 12);
            if (!room_for_chunk(at)) return false;
            const std::uint8_t* chunk = bytes.data + at;
            const std::size_t size = big32(chunk);
            if (!is_type(chunk, "IDAT")) need_front(at + 12 + size);
            if (is_type(chunk, "IDAT")) {
                first_idat = at;
                return found && (palette.present || header.color != Color::palette);
            }
            if (is_type(chunk, "gsBD")) {
                if (found || !crc_is_right(chunk, size)) return false;
                found = table.parse({chunk + 8, size}, header, bytes.data + kIhdrAt);
                if (!found) return false;
            } else if (is_type(chunk, "PLTE")) {
                if (palette.present || size == 0 || size > 768 || size % 3 != 0 || !crc_is_right(chunk, size))
                    return false;
                palette.present = true;
                std::memcpy(palette.rgb, chunk + 8, size);
            } else if ((chunk[4] & 0x20) == 0) {
                return false;  // an unknown critical chunk
            }
            at += 12 + size;
        }
    }

    // Whether the chunk at `at` is that of band `b`, with sound data when it is `wanted`, which
    // `found` then gets.
    bool check_band(std::size_t at, int b, bool wanted, std::vector<ByteView>& found) const {
        if (!room_for_chunk(at)) return false;
        const std::uint8_t* chunk = bytes.data + at;
        const std::size_t size = big32(chunk);
        if (!is_type(chunk, "IDAT") || size != table.idat_bytes(b) ||
            big32(chunk + 8 + size) != table.idat_crc(b))
            return false;
        const std::size_t front = b == 0 ? kZlibHeader : 0;
        const std::size_t back = b + 1 == table.bands() ? kAdler : 0;
        if (size <= front + back) return false;
        if (b == 0 && (chunk[8] != 0x78 || chunk[9] != 0x01)) return false;
        if (!wanted) return true;
        if (!crc_is_right(chunk, size)) return false;
        found.push_back({chunk + 8 + front, size - front - back});
        return true;
    }

    // Fetches bands [first, last] and checks them alone. `end` becomes the end of what is there. False also
    // when that is more than half of the file, or when the file is too short for its bands.
    bool fetch_bands(int first, int last, std::vector<ByteView>& found, std::size_t& end) const {
        std::size_t begin = 0, behind = first_idat;
        for (int b = 0; b < table.bands(); b++) {
            if (b == first) begin = behind;
            behind += 12 + std::size_t{table.idat_bytes(b)};
            if (b == last) end = behind;
        }
        if (behind + 12 > bytes.size) return false;  // IEND at least follows
        if (first_idat + (end - begin) > bytes.size / 2) return false;
        lazy->need(begin, end);
        found.clear();
        for (int b = first; b <= last; begin += 12 + std::size_t{table.idat_bytes(b)}, b++)
            if (!check_band(begin, b, true, found)) return false;
        return true;
    }

    // Every IDAT chunk must be as the table says, those of bands [first, last] have the checksum they claim,
    // and the file must go on to its end. `found` gets the compressed data of bands first to last.
    bool check_chunks(int first, int last, std::vector<ByteView>& found) const {
        std::size_t at = first_idat;
        found.clear();
        for (int b = 0; b < table.bands(); b++) {
            if (!check_band(at, b, b >= first && b <= last, found)) return false;
            at += 12 + std::size_t{table.idat_bytes(b)};
        }
        for (bool next_is_first = true; room_for_chunk(at); next_is_first = false) {
            const std::uint8_t* chunk = bytes.data + at;
            if (is_type(chunk, "IEND")) return true;
            if (next_is_first && is_type(chunk, "IDAT")) return false;
            if ((chunk[4] & 0x20) == 0) return false;
            at += 12 + big32(chunk);
        }
        return false;
    }
};

// How the rows of the crop lie in memory while a band is worked on.
struct BandReader::Window {
    const Header& header;
    const BandTable& table;
    const std::uint8_t* file_end;
    int right;                     // one past the crop's last column in the image
    int tile = 0;                  // the first tile that is decoded
    std::size_t lead = 0;          // bytes of the pixel left of it, which is in front of the tile
    std::size_t size = 0;          // bytes of a row up to the crop's right edge, that pixel included
    std::size_t stride = 0;        // of the filtered rows
    std::uint8_t* rows = nullptr;  // filtered row y: a filter byte at rows + y * stride, then `size` bytes
};

BandReader::~BandReader() {
    libdeflate_free_decompressor(inflater_);
}

// The table holds the pixel left of the first tile. It is put in front of the tile as if it were the row's
// first pixel, filtered so that unfiltering gives it back: None and Sub see no neighbour there, Up and Paeth
// predict the pixel above, Average half of it.
static void put_left_pixel(std::uint8_t* row, std::uint8_t filter, const std::uint8_t* pixel,
                           const std::uint8_t* above, std::size_t size) {
    for (std::size_t i = 0; i < size; i++) {
        const int up = above == nullptr ? 0 : above[i];
        const int predicted = filter == kUp || filter == kPaeth ? up : filter == kAverage ? up / 2 : 0;
        row[1 + i] = static_cast<std::uint8_t>(pixel[i] - predicted);
    }
}

void BandReader::decode_literal_band(const Window& w, ByteView band, int index, int rows) {
    const BandShape& shape = w.table.shape();
    const int band_rows = shape.rows(w.header, index), tiles = shape.tiles(w.header);
    const int segments = shape.segments(band_rows);
    const std::uint8_t* record = w.table.record(index);
    const int header_bits = big16(record);
    if (!read_literal_header(band, header_bits, literals_)) fail(index);

    const std::size_t pixel = w.header.row_bytes(1);
    const std::uint8_t* lengths = record + 2;
    const std::uint8_t* left = lengths + 2 * static_cast<std::ptrdiff_t>(segments) * tiles;
    if (w.tile > 0) left += pixel * static_cast<std::size_t>(w.tile - 1);
    const std::size_t left_step = pixel * static_cast<std::size_t>(tiles - 1);
    const int last_tile = tiles == 1 ? 0 : (w.right - 1) / shape.tile_width;
    const bool whole_tiles = w.right == w.header.width || (tiles > 1 && w.right % shape.tile_width == 0);
    std::size_t bit = static_cast<std::size_t>(header_bits);
    runs_.clear();
    for (int y = 0; y < rows; y += shape.segment_rows, left += left_step) {
        std::uint8_t* row = w.rows + w.stride * static_cast<std::size_t>(y);
        const std::size_t start = bit;
        std::size_t begin = bit, end = 0;
        for (int t = 0; t < tiles; t++, lengths += 2) {
            if (t == w.tile) begin = bit;
            bit += static_cast<std::size_t>(big16(lengths));
            if (t == last_tile && whole_tiles) end = bit;
        }
        if (w.tile > 0) {
            const int filter = decode_literal(band, literals_, start);
            if (filter < 0) fail(index);
            row[0] = static_cast<std::uint8_t>(filter);
            put_left_pixel(row, row[0], left, y == 0 ? nullptr : left - left_step, pixel);
            runs_.push_back({begin, end, row + 1 + w.lead, w.size - w.lead});
        } else {
            const int count = std::min(shape.segment_rows, rows - y);
            const bool whole = y + shape.segment_rows <= rows || rows == band_rows;
            runs_.push_back(
                {begin, whole ? end : 0, row, w.stride * static_cast<std::size_t>(count - 1) + 1 + w.size});
        }
    }
    // The file goes on behind the band: that the decoder may look there saves it care at the band's end.
    const ByteView data{band.data, static_cast<std::size_t>(w.file_end - band.data)};
    if (!decode_literals(data, literals_, runs_.data(), static_cast<int>(runs_.size()))) fail(index);
}

void BandReader::decode_deflate_band(const Window& w, ByteView band, int index) {
    if (inflater_ == nullptr) inflater_ = libdeflate_alloc_decompressor();
    if (inflater_ == nullptr) throw std::bad_alloc();
    // An empty stored block that is the last makes a whole stream of a band.
    constexpr std::uint8_t kEnd[5] = {0x01, 0x00, 0x00, 0xFF, 0xFF};
    const bool last = index + 1 == w.table.bands();
    std::uint8_t* stream = stream_.reserve(band.size + 5);
    std::memcpy(stream, band.data, band.size);
    std::memcpy(stream + band.size, kEnd, 5);
    const std::size_t all = w.stride * static_cast<std::size_t>(w.table.shape().rows(w.header, index));
    if (libdeflate_deflate_decompress(inflater_, stream, band.size + (last ? 0 : 5), w.rows, all, nullptr) !=
        LIBDEFLATE_SUCCESS)
        fail(index);
}

// Rows of stored blocks are in the file as they are, filter bytes of None in front.
void BandReader::copy_stored_band(const Window& w, ByteView band, int index, int rows) {
    const int step = w.table.shape().stored_rows(w.header);
    const int band_rows = w.table.shape().rows(w.header, index);
    std::size_t at = 0;
    for (int y = 0; y < rows; y += step) {
        const std::size_t size = w.stride * static_cast<std::size_t>(std::min(step, band_rows - y));
        if (band.size - at < 5 + size) fail(index);
        const std::uint8_t* head = band.data + at;
        if ((head[0] & 6) != 0 || (head[1] | head[2] << 8) != static_cast<int>(size)) fail(index);
        std::memcpy(w.rows + w.stride * static_cast<std::size_t>(y), head + 5, size);
        at += 5 + size;
    }
}

std::vector<std::int64_t> BandReader::positions(ByteView bytes, const Header& header) {
    File file{bytes};
    std::vector<ByteView> none;
    if (header.interlaced || !file.find_table(header) || !file.check_chunks(-1, -1, none)) return {};
    std::vector<std::int64_t> found{file.table.shape().band_rows, static_cast<std::int64_t>(file.first_idat)};
    for (int b = 0; b < file.table.bands(); b++)
        found.push_back(found.back() + 12 + std::int64_t{file.table.idat_bytes(b)});
    return found;
}

bool BandReader::decode(ByteView bytes, const Header& header, const Rect& part, RowSink& sink,
                        LazyBytes* lazy) {
    File file{bytes, lazy};
    if (header.interlaced || !file.find_table(header)) return false;
    const BandTable& table = file.table;
    const BandShape& shape = table.shape();
    const int first = part.y / shape.band_rows, bottom = part.y + part.height;
    const int last = (bottom - 1) / shape.band_rows;
    std::size_t end = bytes.size;
    if (lazy == nullptr ? !file.check_chunks(first, last, bands_)
                        : !file.fetch_bands(first, last, bands_, end))
        return false;

    Window w{header, table, bytes.data + end, part.x + part.width};
    if (shape.tile_width > 0) w.tile = part.x / shape.tile_width;
    const int from_column = w.tile > 0 ? w.tile * shape.tile_width - 1 : 0;  // the first in memory
    w.lead = w.tile > 0 ? header.row_bytes(1) : 0;
    w.size = header.row_bytes(w.right) - header.row_bytes(from_column);
    // Rows that are decoded one by one may lie anywhere, others lie as in the stream.
    const std::size_t row = 1 + header.row_bytes(header.width);
    w.stride = shape.segment_rows == 1 ? 1 + w.size : row;
    const auto band_rows = static_cast<std::size_t>(std::min(shape.band_rows, header.height));
    if (row * band_rows / kMaxExpansion > bytes.size) return false;  // a small file that claims to be huge
    constexpr std::size_t kFront = (kUnfilterReach + 63) / 64 * 64;
    w.rows = rows_.reserve(kFront + row * band_rows + kUnfilterReach) + kFront;

    const RowConverter converter(header, file.palette);
    const int units = converter.units(w.right - from_column);
    const std::size_t plain_row = static_cast<std::size_t>(converter.layout().out * units);
    const std::size_t plain_stride = (plain_row + kUnfilterGap + 63) / 64 * 64;
    std::uint8_t* const above = plain_.reserve(plain_stride * (band_rows + 2));
    std::uint8_t* const plain = above + plain_stride;
    std::memset(above, 0, plain_row);
    const std::size_t rgb_row = std::size_t{3} * static_cast<std::size_t>(part.width);
    for (int b = first; b <= last; b++) {
        const ByteView band = bands_[static_cast<std::size_t>(b - first)];
        const int top = b * shape.band_rows, begin = std::max(0, part.y - top);
        const int rows = std::min(shape.rows(header, b), bottom - top);
        if (shape.coding == BandCoding::stored)
            copy_stored_band(w, band, b, rows);
        else if (shape.coding == BandCoding::literals)
            decode_literal_band(w, band, b, rows);
        else
            decode_deflate_band(w, band, b);
        for (int y = 0; y < rows; y++)
            if (w.rows[w.stride * static_cast<std::size_t>(y)] > (y == 0 ? kSub : kPaeth)) fail(b);
        unfilter_rows(converter.layout(), w.rows, w.stride, rows, units, plain, plain_stride);
        const std::uint8_t* shown = plain + plain_stride * static_cast<std::size_t>(begin);
        const int x = part.x - from_column, count = rows - begin;
        if (converter.is_direct()) {
            sink.rows(top + begin - part.y, count, shown + 3 * std::ptrdiff_t{x},
                      static_cast<std::ptrdiff_t>(plain_stride));
            continue;
        }
        std::uint8_t* const rgb = rgb_.reserve(rgb_row * static_cast<std::size_t>(count) + kRowSlack);
        for (int i = 0; i < count; i++)
            converter.convert_row(shown + plain_stride * static_cast<std::size_t>(i), x, part.width,
                                  rgb + rgb_row * static_cast<std::size_t>(i));
        sink.rows(top + begin - part.y, count, rgb, static_cast<std::ptrdiff_t>(rgb_row));
    }
    return true;
}

}  // namespace gs::png
