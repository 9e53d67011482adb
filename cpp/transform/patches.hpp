// Steps that take rectangles away, and steps that keep nothing but patches.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "transform/step.hpp"

namespace gs::transform {

// Fills rectangles, which may reach beyond the image, with a colour.
std::shared_ptr<const Step> fill_step(std::vector<Rect> rects, const std::array<std::uint8_t, 3>& colour);

struct Corner {
    int x, y;
};

// Sorts the patches of `side` pixels at these corners by their texture (the sum of absolute differences
// between neighbours across, down and along both diagonals; equal ones keep their order) and lays patches
// chosen[0], chosen[1], ... of that order out in rows of `columns`. Their number is a multiple of `columns`.
std::shared_ptr<const Step> texture_step(std::vector<Corner> corners, int side, std::vector<int> chosen,
                                         int columns);

}  // namespace gs::transform
