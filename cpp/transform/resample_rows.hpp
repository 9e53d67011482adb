// The first pass of a resize (image/resample.hpp) for many rows: four at once share the work on the weights.
#pragma once

#include "image/resample.hpp"
#include "transform/step.hpp"

namespace gs::transform {

// As resample_across for `count` rows. Rows may be read and written kRowSlack bytes beyond their end.
void resample_rows_across(const Axis& axis, const std::uint8_t* rgb, std::ptrdiff_t stride, int count,
                          const Canvas& out);

}  // namespace gs::transform
