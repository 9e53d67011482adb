// Rows of RGB pixels put into another order, a few pixels at a time where the processor can.
#pragma once

#include <cstdint>

namespace gs {

// The pixels from right to left. `to` is another row than `from`.
void reverse_row(const std::uint8_t* from, int width, std::uint8_t* to);

// BGR of RGB, and back. `to` may be `from`.
void swap_red_and_blue(const std::uint8_t* from, int width, std::uint8_t* to);

}  // namespace gs
