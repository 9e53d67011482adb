// Steps that move pixels: windows with padding, mirroring, quarter turns, affine maps.
#pragma once

#include <array>
#include <memory>

#include "transform/step.hpp"

namespace gs::transform {

// What lies outside of an image (of "abcd", to the right): zeros "0000", reflect "cbab", symmetric "dcba",
// tile "abcd", edge "dddd". As numpy.pad's modes constant, reflect, symmetric, wrap and edge.
enum class Padding : std::uint8_t { zeros, reflect, symmetric, tile, edge };

// The window (x, y, width, height) of an image that continues beyond its edges.
std::shared_ptr<const Step> crop_step(const Rect& window, Padding padding);

// Mirrored left to right, or upside down.
std::shared_ptr<const Step> flip_step(bool across, bool down);

// As numpy.rot90(image, turns): counter-clockwise, `turns` from 0 to 3.
std::shared_ptr<const Step> quarter_turns_step(int turns);

// As Pillow's Image.transform(image.size, AFFINE, matrix, NEAREST): output pixel (x, y) comes from
// input pixel (m0 x + m1 y + m2, m3 x + m4 y + m5) at pixel centres, in 16.16 fixed point; zeros where
// that is outside.
std::shared_ptr<const Step> affine_step(const std::array<double, 6>& matrix);

}  // namespace gs::transform
