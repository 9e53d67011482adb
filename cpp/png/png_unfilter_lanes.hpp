// How PNG rows are unfiltered with vectors, and where the rows of a wave are.
//
// Paeth and Average make every pixel wait for the one to its left: a row alone is a chain of some ten cycles
// per pixel while most of the machine idles. But a pixel also needs nothing of its row below the row above
// but three pixels. So several rows go together as a slanted front: row i works two pixels behind row i - 1.
//
//     row 0   . . . . . . . x          x: the pixels of one step, a vector of one 32-bit lane per row
//     row 1   . . . . . x
//     row 2   . . . x                  left        = the previous step's vector
//     row 3   . x                      above       = the vector before that, moved on by one lane
//                                      above left  = the previous step's "above"
//
// A lag of one would do; two keeps the move between lanes out of the chain. Every four steps, 4 pixels per
// row are loaded and 4 x rows lanes transposed, and the same on the way out.
//
// Rows of other filters may be among them: None, Sub and Up are Paeth with some neighbours set to zero.
#pragma once

#include <algorithm>

#include "png/png_unfilter_kernels.hpp"

#define GS_INLINE static inline __attribute__((always_inline))

namespace gs::png {
namespace {

constexpr int kLag = 2;

// Where the rows of a wave are. Lanes without a row of their own repeat the last one and write to
// a spare row.
template <int kRows>
struct Lanes {
    const std::uint8_t* from[kRows];
    std::uint8_t* to[kRows];
    std::uint32_t filter[kRows];
    bool mixed = false;  // not all rows are Paeth

    Lanes(const Layout& layout, const std::uint8_t* rows, std::size_t stride, int count, std::uint8_t* out,
          std::size_t out_stride) {
        for (int i = 0; i < kRows; i++) {
            const std::uint8_t* row = rows + static_cast<std::size_t>(std::min(i, count - 1)) * stride;
            from[i] = row + 1 - i * kLag * layout.pixel;
            to[i] = out + static_cast<std::size_t>(std::min(i, count)) * out_stride - i * kLag * layout.out;
            filter[i] = i < count ? row[0] : std::uint32_t{kPaeth};
            mixed |= filter[i] != kPaeth;
        }
    }
};

}  // namespace
}  // namespace gs::png
