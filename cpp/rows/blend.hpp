// Rows of 8-bit RGB on their way between a colour and its gray, as Pillow's Image.blend; plain and by vectors, whichever
// the processor has. No byte beyond the rows is read or written.
#pragma once

#include <cstdint>

namespace gs {

// A gray is (red * weights[0] + ... + 2^(shift - 1)) >> shift, of weights that sum to 2^shift.
struct Luma {
    int weights[3];
    int shift;
};
constexpr Luma kPillowLuma{{19595, 38470, 7471}, 16};  // Convert.c: ITU-R 601
constexpr Luma kOpenCvLuma{{9798, 19235, 3735}, 15};

// The gray of each pixel in all three channels.
void gray_row(const Luma& luma, const std::uint8_t* rgb, std::uint8_t* to, int pixels);

// The sum of Pillow's grays.
std::int64_t luma_sum(const std::uint8_t* rgb, int pixels);

// Image.blend(from, to, factor) of one value (Blend.c), from a level to the pixel's values: single precision, clipped,
// truncated.
void blend_with_level(const std::uint8_t* rgb, std::uint8_t* to, int values, int level, float factor);

// The same, from Pillow's gray of the pixel.
void blend_with_luma(const std::uint8_t* rgb, std::uint8_t* to, int pixels, float factor);

}  // namespace gs
