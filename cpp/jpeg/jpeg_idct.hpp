// The inverse DCT: libjpeg's accurate integer one ("islow", jidctint.c; Loeffler, Ligtenberg and Moschytz
// 1989, with 13 fraction bits), two blocks at a time.
//
// Bit for bit the result of libjpeg-turbo's SIMD code, also where hostile coefficients overflow: coefficients
// times quantiser wrap at 16 bits, sums of inputs wrap at 16 bits, products and sums of products at 32, and
// both passes end in a saturation to 16 bits, the second one in a further one to 8. One case is left out:
// when rows 1 to 7 of a block are zero, libjpeg-turbo shifts the first row within 16 bits instead of
// saturating it. For row 0 below 2^13 that is the same; larger values are reported (`peak`), and the image is
// left to libjpeg.
//
// Two blocks lie interleaved, row by row, so that one 32-byte load is a row of each: entry 16 * row + 8 *
// lane + column.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gs::jpeg {

constexpr int kPairEntries = 128 + 16;  // the last 16 are the dummy places of jpeg_huffman.hpp
constexpr int kRow0Limit = 8192;

// Where coefficient k of the zigzag order goes in a lane of a pair; k = 64..575 go to the dummy.
extern const std::uint8_t kPairPlace[576];

// Quantisers of the two blocks in the layout of a pair, from tables in zigzag order.
void make_quant_pair(const std::uint8_t* lane0, const std::uint8_t* lane1, std::int16_t* pair);

// Writes the 8 x 8 samples of lane 0 to `a` and of lane 1 to `b`, and zeroes the pair. `extent` is
// the number of zigzag positions that may be other than zero in either block. Returns whether row 0
// kept below kRow0Limit.
bool idct_pair_plain(std::int16_t* pair, const std::int16_t* quant, int extent, std::uint8_t* a,
                     std::uint8_t* b, std::ptrdiff_t stride);

}  // namespace gs::jpeg
