// Images smaller than the window: what lies beyond their right and lower edges.
#pragma once

#include <cstdint>

#include "base/types.hpp"

namespace gs {

enum class Small : std::uint8_t { tile, reflect, constant, resize };

// The pixel of an image `size` wide (or high) that is at `at` >= 0, which may lie beyond it; -1: none
// (constant). tile: 0 1 2 0 1 2 0; reflect: 0 1 2 1 0 1 2 (the edge is not repeated).
int source_of(std::int64_t at, int size, Small policy);

// The size of an image that is enlarged until it covers the window: by the larger of the two ratios, so that
// one side equals the window's; the other is rounded down (and not less than the window's). An image that
// covers the window keeps its size. A long thin image may need more than an int holds.
struct Size {
    int width;
    int height;
};
struct WideSize {
    std::int64_t width;
    std::int64_t height;
};
WideSize covering_size(Size image, Size window);

// Lays `width` pixels of the extended row out, beginning at x >= 0: `row` is the whole row of an image
// of `image_width` pixels.
void extend_row(const std::uint8_t* row, int image_width, int x, int width, Small policy,
                const std::uint8_t fill[3], std::uint8_t* to);

}  // namespace gs
