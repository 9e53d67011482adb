#include "png/png_unfilter.hpp"

#include <algorithm>
#include <cstring>

#include "base/cpu.hpp"
#include "png/png_unfilter_kernels.hpp"

namespace gs::png {
namespace {

// The neighbour nearest to p = a + b - c; ties go to a, then b (section 9.4 of the specification). Without
// the distances: where c lies outside of a and b, p lies on the other side; where it lies between, twice the
// distance from c decides.
int paeth(int a, int b, int c) {
    const int low = std::min(a, b), high = std::max(a, b);
    const int threshold = 3 * c - a - b;
    return high <= threshold ? low : low >= threshold ? high : c;
}

#if defined(GS_UNFILTER_VECTORS)
// How many of the rows have a filter that needs no wave.
int count_simple(const std::uint8_t* rows, std::size_t stride, int count) {
    int n = 0;
    while (n < count && rows[static_cast<std::size_t>(n) * stride] <= kUp) n++;
    return n;
}
#endif

}  // namespace

Layout::Layout(int pixel_bytes, int channel_step, int channels)
    : pixel(pixel_bytes), step(channel_step), out(channels) {
    const int per_load = pixel > 4 ? 2 : 4;
    std::memset(&shuffles, 0x80, sizeof shuffles);  // a lane that stays zero
    for (int i = 0; i < 4; i++) {
        for (int c = 0; c < out; c++) {
            const int from = i % per_load * pixel + c * step;
            (i < per_load ? shuffles.in : shuffles.in_2)[4 * i + c] = static_cast<std::uint8_t>(from);
            shuffles.above[4 * i + c] = static_cast<std::uint8_t>(i * out + c);
            shuffles.out[i * out + c] = static_cast<std::uint8_t>(4 * i + c);
        }
    }
}

void unfilter_row_plain(const Layout& layout, int filter, const std::uint8_t* row, int pixels,
                        const std::uint8_t* above, std::uint8_t* out) {
    const int n = layout.out;
    std::uint8_t left[3] = {0, 0, 0}, above_left[3] = {0, 0, 0};
    for (int x = 0; x < pixels; x++, row += layout.pixel, above += n, out += n) {
        for (int i = 0; i < n; i++) {
            const int a = left[i], b = above[i];
            int predicted = 0;
            if (filter == kSub) predicted = a;
            if (filter == kUp) predicted = b;
            if (filter == kAverage) predicted = (a + b) / 2;
            if (filter == kPaeth) predicted = paeth(a, b, above_left[i]);
            left[i] = out[i] = static_cast<std::uint8_t>(row[i * layout.step] + predicted);
            above_left[i] = static_cast<std::uint8_t>(b);
        }
    }
}

void unfilter_rows(const Layout& layout, const std::uint8_t* rows, std::size_t stride, int count, int pixels,
                   std::uint8_t* out, std::size_t out_stride) {
    [[maybe_unused]] const Simd simd = simd_level();
    while (count > 0) {
        int done = 1;
#if defined(GS_UNFILTER_VECTORS)
        if (simd != Simd::plain) {
            const int simple = count_simple(rows, stride, count);
            if (simple > 0) {
                unfilter_row_128(layout, rows[0], rows + 1, pixels, out - out_stride, out);
#if defined(__x86_64__)
            } else if (simd >= Simd::avx2 && count > kRows128) {
                done = std::min(count, kRowsAvx2);
                unfilter_wave_avx2(layout, rows, stride, done, pixels, out, out_stride);
#endif
            } else {
                done = std::min(count, kRows128);
                unfilter_wave_128(layout, rows, stride, done, pixels, out, out_stride);
            }
        } else
#endif
            unfilter_row_plain(layout, rows[0], rows + 1, pixels, out - out_stride, out);
        rows += static_cast<std::size_t>(done) * stride;
        out += static_cast<std::size_t>(done) * out_stride;
        count -= done;
    }
}

}  // namespace gs::png
