// Gaussian noise that depends on a key and a pixel's place alone, so that any window has the
// whole image's noise.
//
// Rule: the four Philox words of counter (y * width + x, 0, 0, 0) give two pairs of normal numbers by Box and
// Muller's transform, in single precision from additions, products, quotients and square roots alone, whose
// results are the same on every processor; the first three are the channels'. A value becomes itself + offset
// + scale * normal, clipped to 0..255 and rounded half to even.
#pragma once

#include <memory>

#include "transform/philox.hpp"
#include "transform/step.hpp"

namespace gs::transform {

// `offset` and `scale` in levels of 0..255.
std::shared_ptr<const Step> noise_step(PhiloxKey key, float offset, float scale);

// The normal numbers of the pixels `first` .. `first` + `count` - 1, by number: `count` of each channel.
void normal_pixels(PhiloxKey key, std::uint32_t first, int count, float* to);

}  // namespace gs::transform
