// The order of work: chunks, one call of inflate, then some rows at a time: unfilter, convert, hand over.
#include "image/decode_png.hpp"

#include <algorithm>
#include <cstring>
#include <string>

#include "bands/png_band_reader.hpp"
#include "base/lazy_bytes.hpp"
#include "png/png_inflate.hpp"
#include "png/png_passes.hpp"
#include "png/png_rows.hpp"
#include "png/png_unfilter.hpp"

namespace gs {

struct PngState {
    png::BandReader bands;
    png::Inflater inflater;
    png::Palette palette;
    Buffer joined;  // the compressed data, when it is in several chunks
    Buffer raw;     // the decompressed data
    Buffer band;    // unfiltered rows
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
// Bytes of unfiltered rows that are handed over at a time: they stay in the first-level cache meanwhile.
constexpr std::size_t kBandBytes = 24 * 1024;
constexpr int kBandRows = 8;  // the unfilter's widest wave: bands are multiples of it

// Decompressed rows of one image, filtered.
struct Rows {
    const std::uint8_t* raw;
    std::size_t size;  // bytes of raw that are there
};

std::ptrdiff_t to_offset(std::size_t bytes) {
    return static_cast<std::ptrdiff_t>(bytes);
}

std::size_t to_size(int count) {
    return static_cast<std::size_t>(count);
}

// The first `wanted` of the image data's `total` bytes; returns how many there are. When all are wanted, the
// stream's checksum is looked at too. More data than the image needs is ignored, as libpng does.
std::size_t inflate(png::Inflater& inflater, ByteView stream, std::uint8_t* raw, std::size_t wanted,
                    std::size_t total, bool strict) {
    using Status = png::Inflater::Status;
    inflater.start(stream, raw);
    // One byte more than the image has tells whether the stream ends with it.
    const Status status = inflater.inflate_beyond(wanted == total ? total : wanted - 1);
    if (inflater.size() >= wanted && (status == Status::more || status == Status::done)) return wanted;
    if (!strict) return png::inflate_partially(stream, raw, wanted);
    if (status == Status::damaged) throw DecodeError("damaged PNG: the image data cannot be decompressed");
    throw DecodeError("truncated PNG: the image data ends too early");
}

const std::uint8_t* row_of(const Rows& rows, const Pass& pass, int y) {
    return rows.raw + pass.offset + pass.stride * to_size(y);
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
    const std::size_t size = std::size_t{3} * to_size(part.width);
    std::uint8_t* black = rgb.reserve(size);
    std::memset(black, 0, size);
    for (int y = first; y < end; y++) sink.rows(y, 1, black, 0);
}

// Unfilters rows [start, end) of a pass, of which `start` does not refer to the row above it, up to
// pixel `right`. Calls use(first, count, rows, stride_bytes) for the unfiltered rows from `top` on, a
// band at a time.
template <class Use>
void unfilter_bands(const Rows& rows, const Pass& pass, const png::RowConverter& converter, int start,
                    int top, int end, int right, Buffer& buffer, Use use) {
    const int units = converter.units(right);
    const std::size_t row_size = to_size(converter.layout().out) * to_size(units);
    const std::size_t stride = (row_size + png::kUnfilterGap + 63) / 64 * 64;
    const int most = std::max(1, static_cast<int>(kBandBytes / stride) / kBandRows) * kBandRows;
    std::uint8_t* const above = buffer.reserve(stride * to_size(most + 2));
    std::uint8_t* const band = above + stride;
    std::memset(above, 0, row_size);
    for (int y = start; y < end;) {
        const int count = std::min(most, end - y);
        png::unfilter_rows(converter.layout(), row_of(rows, pass, y), pass.stride, count, units, band,
                           stride);
        const int skipped = std::clamp(top - y, 0, count);
        if (skipped < count)
            use(y + skipped, count - skipped, band + stride * to_size(skipped), to_offset(stride));
        std::memcpy(above, band + stride * to_size(count - 1), row_size);
        y += count;
    }
}

void send_plain(const Pass& pass, const Rows& rows, const Rect& part, bool strict,
                const png::RowConverter& converter, PngState& s, RowSink& sink) {
    const int end = count_sound_rows(rows, pass, part.y + part.height, strict);
    const std::size_t rgb_stride = std::size_t{3} * to_size(part.width);
    const auto use = [&](int y, int count, const std::uint8_t* band, std::ptrdiff_t stride) {
        if (converter.is_direct()) {
            sink.rows(y - part.y, count, band + std::ptrdiff_t{3} * part.x, stride);
            return;
        }
        std::uint8_t* rgb = s.rgb.reserve(rgb_stride * to_size(count) + png::kRowSlack);
        for (int i = 0; i < count; i++)
            converter.convert_row(band + i * stride, part.x, part.width, rgb + rgb_stride * to_size(i));
        sink.rows(y - part.y, count, rgb, to_offset(rgb_stride));
    };
    if (part.y < end)
        unfilter_bands(rows, pass, converter, find_start(rows, pass, part.y), part.y, end,
                       part.x + part.width, s.band, use);
    send_black(std::max(0, end - part.y), part.height, part, s.rgb, sink);
}

// Pixels of a pass's row, already RGB, to their places in a row of the crop.
void spread(const std::uint8_t* from, int count, std::uint8_t* to, int step) {
    for (int i = 0; i < count; i++, from += 3, to += 3 * std::ptrdiff_t{step}) std::memcpy(to, from, 3);
}

void send_interlaced(const Passes& passes, const Rows& rows, const Rect& part, bool strict,
                     const png::RowConverter& converter, PngState& s, RowSink& sink) {
    const std::size_t stride = std::size_t{3} * to_size(part.width);
    const std::size_t size = stride * to_size(part.height);
    std::uint8_t* const whole = s.rgb.reserve(size + stride + png::kRowSlack);
    std::uint8_t* const one_row = whole + size;
    std::memset(whole, 0, size);
    for (int i = 0; i < passes.count; i++) {
        const Pass& p = passes.pass[i];
        if (p.width == 0) continue;
        const int left = Pass::first_at(part.x, p.x0, p.dx);
        const int right = Pass::first_at(part.x + part.width, p.x0, p.dx);
        const int top = Pass::first_at(part.y, p.y0, p.dy);
        const int end = count_sound_rows(rows, p, Pass::first_at(part.y + part.height, p.y0, p.dy), strict);
        const auto use = [&](int y, int count, const std::uint8_t* band, std::ptrdiff_t band_stride) {
            for (int last = y + count; y < last; y++, band += band_stride) {
                std::uint8_t* to = whole + stride * to_size(p.y0 + y * p.dy - part.y) +
                                   std::ptrdiff_t{3} * (p.x0 + left * p.dx - part.x);
                if (converter.is_direct()) {
                    spread(band + std::ptrdiff_t{3} * left, right - left, to, p.dx);
                } else {
                    converter.convert_row(band, left, right - left, one_row);
                    spread(one_row, right - left, to, p.dx);
                }
            }
        };
        if (left < right && top < end)
            unfilter_bands(rows, p, converter, find_start(rows, p, top), top, end, right, s.band, use);
    }
    sink.rows(0, part.height, whole, to_offset(stride));
}

}  // namespace

void decode_png(ByteView bytes, const Header& header, const Rect& part, const DecodeOptions& options,
                PngState& s, RowSink& sink) {
    if (options.lazy != nullptr) {
        if (s.bands.decode(bytes, header, part, sink, options.lazy)) return;
        options.lazy->need(0, bytes.size);  // nothing gained, or in doubt: as if it had all been there
    }
    if (s.bands.decode(bytes, header, part, sink)) return;
    const ByteView stream = png::read_chunks(bytes, header, options.strict, s.palette, s.joined);

    const Passes passes(header);
    const std::size_t total = passes.total_bytes();
    std::size_t wanted = passes.bytes_down_to(part.y + part.height);
    // A small file may claim to be huge: no memory is taken that its data cannot fill.
    const std::size_t possible = stream.size * kMaxExpansion;
    if (options.strict && possible < total)
        throw DecodeError("truncated PNG: too little image data for its width and height");
    wanted = std::min(wanted, possible);

    constexpr std::size_t kFront = (png::kUnfilterReach + 63) / 64 * 64;
    std::uint8_t* raw = s.raw.reserve(kFront + wanted + png::kInflateSlack + png::kUnfilterReach) + kFront;
    const std::size_t inflated = inflate(s.inflater, stream, raw, wanted, total, options.strict);
    const Rows rows{raw, inflated};
    const png::RowConverter converter(header, s.palette);
    if (header.interlaced)
        send_interlaced(passes, rows, part, options.strict, converter, s, sink);
    else
        send_plain(passes.pass[0], rows, part, options.strict, converter, s, sink);
}

}  // namespace gs
