// Resizing as Pillow does it, to the bit.
#pragma once

#include <cstdint>

namespace gs {

enum class Filter : std::uint8_t { bilinear, bicubic };

}  // namespace gs
