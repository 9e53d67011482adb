// PNG: the order of work. Chunks, one call of inflate, then band by band: unfilter, convert, hand over.
#include <algorithm>
#include <cstring>
#include <string>

#include "decode.hpp"
#include "png_container.hpp"
#include "png_inflate.hpp"
#include "png_passes.hpp"
#include "png_rows.hpp"
#include "png_unfilter.hpp"

namespace gs {

struct PngState {
    png::Inflater inflater;
    png::Palette palette;
    Buffer joined;  // the compressed data, when it stands in several chunks
    Buffer raw;     // a row of zeros, then the decompressed data
    Buffer rgb;     // converted rows: a band, or the whole crop of an interlaced image
};

std::unique_ptr<PngState, PngStateDeleter> make_png_state() {
    return std::unique_ptr<PngState, PngStateDeleter>(new PngState);
}

void PngStateDeleter::operator()(PngState* state) const {
    delete state;
}

namespace {

using png::Header;
using png::Pass;
using png::Passes;

// Deflate makes at most 258 bytes of 2 bits (one code each for length and distance).
constexpr std::size_t kMaxExpansion = 1032;
// Bytes of rows that are unfiltered and handed over at a time: they stay in the first-level cache meanwhile.
constexpr std::size_t kBandBytes = 24 * 1024;

// Decompressed rows of one image, filtered.
struct Rows {
    std::uint8_t* zeros;  // a row of them: what stands above the first row of a pass
    std::uint8_t* raw;
    std::size_t size;  // bytes of raw that are there
};

std::ptrdiff_t to_offset(std::size_t bytes) {
    return static_cast<std::ptrdiff_t>(bytes);
}

std::uint8_t* row_of(const Rows& rows, const Pass& pass, int y) {
    return rows.raw + pass.offset + pass.stride * static_cast<std::size_t>(y);
}

// How many of the pass's first `wanted` rows can be shown: those that are there whole, up to the first with
// an unknown filter.
int count_sound_rows(const Rows& rows, const Pass& pass, int wanted, bool strict) {
    const std::size_t bytes = rows.size > pass.offset ? rows.size - pass.offset : 0;
    const int there = static_cast<int>(std::min(bytes / pass.stride, static_cast<std::size_t>(wanted)));
    for (int y = 0; y < there; y++) {
        const int filter = *row_of(rows, pass, y);
        if (filter <= png::kPaeth) continue;
        if (strict) throw DecodeError("damaged PNG: unknown row filter " + std::to_string(filter));
        return y;
    }
    return there;
}

// The last row at or above `y` that does not refer to the row above it: unfiltering may start there.
int find_start(const Rows& rows, const Pass& pass, int y) {
    while (y > 0 && *row_of(rows, pass, y) > png::kSub) y--;
    return y;
}

// Rows of black for what could not be decoded.
void send_black(int first, int end, const Rect& part, Buffer& rgb, RowSink& sink) {
    if (first >= end) return;
    const std::size_t size = std::size_t{3} * static_cast<std::size_t>(part.width);
    std::uint8_t* black = rgb.reserve(size);
    std::memset(black, 0, size);
    for (int y = first; y < end; y++) sink.rows(y, 1, black, 0);
}

void send_plain(const Header& header, const Pass& pass, const Rows& rows, const Rect& part, bool strict,
                const png::RowConverter& converter, Buffer& rgb, RowSink& sink) {
    const int bottom = part.y + part.height;
    const int end = count_sound_rows(rows, pass, bottom, strict);
    const std::size_t size = header.row_bytes(part.x + part.width);
    const std::size_t rgb_stride = std::size_t{3} * static_cast<std::size_t>(part.width);
    const int band = static_cast<int>(std::max<std::size_t>(1, kBandBytes / (pass.stride + rgb_stride)));
    const bool convert = !converter.is_identity();
    std::uint8_t* converted =
        convert ? rgb.reserve(rgb_stride * static_cast<std::size_t>(band) + png::kRowSlack) : nullptr;
    int y = end > part.y ? find_start(rows, pass, part.y) : end;
    const std::uint8_t* above = rows.zeros;
    while (y < end) {
        // A band ends at the crop's first row, so that a band lies either above the crop or within it.
        const int stop = std::min(y < part.y ? part.y : end, y + band);
        std::uint8_t* row = row_of(rows, pass, y);
        png::unfilter_rows(row, pass.stride, stop - y, above, size, header.filter_distance());
        above = row_of(rows, pass, stop - 1) + 1;
        if (y >= part.y && convert) {
            for (int i = y; i < stop; i++)
                converter.convert_row(row_of(rows, pass, i) + 1, part.x, part.width,
                                      converted + rgb_stride * static_cast<std::size_t>(i - y));
            sink.rows(y - part.y, stop - y, converted, to_offset(rgb_stride));
        } else if (y >= part.y) {
            sink.rows(y - part.y, stop - y, row + 1 + 3 * std::ptrdiff_t{part.x}, to_offset(pass.stride));
        }
        y = stop;
    }
    send_black(std::max(0, end - part.y), part.height, part, rgb, sink);
}

// Pixels of a pass's row, already RGB, to their places in a row of the crop.
void spread(const std::uint8_t* from, int count, std::uint8_t* to, int step) {
    for (int i = 0; i < count; i++, from += 3, to += 3 * std::ptrdiff_t{step}) std::memcpy(to, from, 3);
}

void send_interlaced(const Header& header, const Passes& passes, const Rows& rows, const Rect& part,
                     bool strict, const png::RowConverter& converter, Buffer& rgb, RowSink& sink) {
    const std::size_t stride = std::size_t{3} * static_cast<std::size_t>(part.width);
    const std::size_t size = stride * static_cast<std::size_t>(part.height);
    std::uint8_t* whole = rgb.reserve(size + stride + png::kRowSlack);
    std::uint8_t* one_row = whole + size;
    std::memset(whole, 0, size);
    for (int i = 0; i < passes.count; i++) {
        const Pass& p = passes.pass[i];
        if (p.width == 0) continue;
        const int left = Pass::first_at(part.x, p.x0, p.dx);
        const int right = Pass::first_at(part.x + part.width, p.x0, p.dx);
        const int top = Pass::first_at(part.y, p.y0, p.dy);
        const int end = count_sound_rows(rows, p, Pass::first_at(part.y + part.height, p.y0, p.dy), strict);
        if (left >= right || top >= end) continue;
        const int start = find_start(rows, p, top);
        png::unfilter_rows(row_of(rows, p, start), p.stride, end - start, rows.zeros, header.row_bytes(right),
                           header.filter_distance());
        for (int y = top; y < end; y++) {
            std::uint8_t* to = whole + stride * static_cast<std::size_t>(p.y0 + y * p.dy - part.y) +
                               3 * std::ptrdiff_t{p.x0 + left * p.dx - part.x};
            converter.convert_row(row_of(rows, p, y) + 1, left, right - left, one_row);
            spread(one_row, right - left, to, p.dx);
        }
    }
    sink.rows(0, part.height, whole, to_offset(stride));
}

}  // namespace

void decode_png(ByteView bytes, const Rect* crop, const DecodeOptions& options, Workspace& workspace,
                RowSink& sink) {
    PngState& s = *workspace.png;
    const ImageInfo info = inspect(bytes, options.limits);
    const Rect all{0, 0, info.width, info.height};
    const Rect& part = crop ? *crop : all;
    if (part.x < 0 || part.y < 0 || part.width < 1 || part.height < 1 || part.x > info.width - part.width ||
        part.y > info.height - part.height)
        throw std::out_of_range("the crop is not inside the image");
    const Header header = png::read_header(bytes);
    const ByteView stream = png::read_chunks(bytes, header, options.strict, s.palette, s.joined);

    const Passes passes(header);
    const std::size_t total = passes.total_bytes();
    std::size_t wanted = passes.bytes_down_to(part.y + part.height);
    // A small file may claim to be huge: no memory is taken that its data cannot fill.
    const std::size_t possible = stream.size * kMaxExpansion;
    if (options.strict && possible < total)
        throw DecodeError("truncated PNG: too little image data for its width and height");
    wanted = std::min(wanted, possible);

    // No row is longer than what there may be of data.
    const std::size_t front = (std::min(1 + header.row_bytes(header.width), wanted) + 63) / 64 * 64;
    std::uint8_t* memory = s.raw.reserve(front + wanted + png::kInflateSlack + png::kUnfilterSlack);
    std::memset(memory, 0, front);
    Rows rows{memory, memory + front, 0};
    const png::Inflated inflated = s.inflater.inflate(stream, rows.raw, wanted, total, !options.strict);
    if (options.strict && inflated.error != nullptr)
        throw DecodeError(std::string("damaged PNG: ") + inflated.error);
    rows.size = inflated.size;

    const png::RowConverter converter(header, s.palette);
    if (header.interlaced)
        send_interlaced(header, passes, rows, part, options.strict, converter, s.rgb, sink);
    else
        send_plain(header, passes.pass[0], rows, part, options.strict, converter, s.rgb, sink);
}

}  // namespace gs
