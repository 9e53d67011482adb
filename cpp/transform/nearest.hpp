// Pillow's rule for scaling without a filter (ImagingScaleAffine in Geometry.c).
#pragma once

#include <vector>

namespace gs::transform {

// Where outputs first .. first + count - 1 come from in a side of `size` pixels, or -1 for places outside of
// it; output 0 lies at `offset` + half of `scale`. Pillow adds the scale from pixel to pixel, and the sums
// are not the products to the last bit.
inline std::vector<int> nearest_places(double offset, double scale, int first, int count, int size) {
    std::vector<int> found(static_cast<std::size_t>(count));
    double at = offset + scale * 0.5;
    for (int i = 0; i < first; i++) at += scale;
    for (int& place : found) {
        place = at < 0.0 ? -1 : static_cast<int>(at);
        if (place >= size) place = -1;
        at += scale;
    }
    return found;
}

}  // namespace gs::transform
