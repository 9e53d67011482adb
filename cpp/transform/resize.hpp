// Resizing: Pillow's six filters and OpenCV's linear interpolation, to the bit.
#pragma once

#include <memory>
#include <optional>

#include "rows/resample.hpp"
#include "transform/step.hpp"

namespace gs::transform {

// As Pillow's Image.resize((to.width, to.height), filter); without a filter, NEAREST.
std::shared_ptr<const Step> resize_step(Size to, std::optional<Filter> filter);

// As cv2.resize(image, (to.width, to.height), interpolation=cv2.INTER_LINEAR): no antialiasing.
std::shared_ptr<const Step> resize_linear_step(Size to);

}  // namespace gs::transform
