// Undoes the row filters of PNG (None, Sub, Up, Average, Paeth) and keeps only what becomes RGB.
//
// The filters work on each byte of a pixel alone, with the same byte of the pixels to the left, above and
// above left. So bytes that are not shown (alpha, the low bytes of 16-bit samples) are not unfiltered at all,
// and gray can become three channels on the way.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gs::png {

enum Filter : std::uint8_t { kNone = 0, kSub = 1, kUp = 2, kAverage = 3, kPaeth = 4 };

// Which bytes of a filtered pixel become which of the unfiltered one.
struct Layout {
    int pixel = 3;  // bytes of a filtered pixel: 1, 2, 3, 4, 6 or 8
    int step = 1;   // channel i is byte i * step
    int out = 3;    // channels, which are the bytes of an unfiltered pixel: 1 or 3

    // The same as byte shuffles between memory and one pixel per 32-bit lane, 4 pixels to a shuffle.
    struct Shuffles {
        alignas(16) std::uint8_t in[16];     // the first pixels of a load
        alignas(16) std::uint8_t in_2[16];   // pixels 2 and 3, when 4 pixels are more than one load
        alignas(16) std::uint8_t above[16];  // pixels that are unfiltered already
        alignas(16) std::uint8_t out[16];
    } shuffles;

    Layout(int pixel_bytes, int channel_step, int channels);
};

// How far before and behind the rows the filtered data is read.
constexpr std::size_t kUnfilterReach = 192;
// How much longer the stride of the unfiltered rows must be than their pixels: what lies between
// is scribbled on.
constexpr std::size_t kUnfilterGap = 160;

// `count` rows that are `stride` bytes apart, each a filter byte (0..4) and its data, of which the
// first `pixels` are unfiltered, to rows that are `out_stride` bytes apart. The unfiltered row above
// the first must be at out - out_stride (zeros, for an image's first row), and there must be room for
// one row more than `count`.
void unfilter_rows(const Layout& layout, const std::uint8_t* rows, std::size_t stride, int count, int pixels,
                   std::uint8_t* out, std::size_t out_stride);

}  // namespace gs::png
