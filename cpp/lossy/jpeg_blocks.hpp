// The inner loops of the JPEG round trip: RGB to YCbCr, fewer chroma samples, and blocks through the forward
// DCT, the quantiser and the inverse DCT.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gs::transform {

// A quantisation table, in the layout of a pair of blocks (jpeg/jpeg_idct.hpp).
//
// The forward DCT gives coefficients times 8. libjpeg divides |coefficient| + 4 q by 8 q and drops the
// remainder. With t = (|coefficient| + 4 q) >> 2 < 2^14, s = floor(log2 q) and r = ceil(2^(15 + s) / q), the
// quotient is exactly (t r) >> 16 >> s: r exceeds the true reciprocal by less than q / 2^(15 + s), which is
// too little to reach the next whole number.
struct QuantTable {
    alignas(32) std::int16_t quant[128];
    alignas(32) std::int16_t half[128];         // 4 q
    alignas(32) std::uint16_t reciprocal[128];  // r
    alignas(32) std::uint16_t unshift[128];     // 2^(15 - s): shifts right by s in a high multiply after << 1

    // libjpeg's example tables scaled as jpeg_set_quality does it, for baseline: 1..255.
    QuantTable(bool chroma, int quality);
};

struct BlockKernels {
    // Writes up to 31 samples beyond `count`, reads as many pixels.
    void (*rgb_to_ycc)(const std::uint8_t* rgb, int count, std::uint8_t* y, std::uint8_t* cb,
                       std::uint8_t* cr);
    // Means of 2 x 2 samples of two rows, or of two neighbours, with libjpeg's alternating rounding. `count`
    // of the result; writes up to 31 more.
    void (*halve_h2v2)(const std::uint8_t* upper, const std::uint8_t* lower, int count, std::uint8_t* out);
    void (*halve_h2)(const std::uint8_t* row, int count, std::uint8_t* out);
    // Replaces `pairs` times two neighbouring 8 x 8 blocks by what a JPEG keeps of them.
    void (*round_trip)(std::uint8_t* samples, std::ptrdiff_t stride, int pairs, const QuantTable& table);
};

// Of the best instruction set that may be used.
const BlockKernels& block_kernels();

extern const BlockKernels kPlainBlockKernels;
const BlockKernels* avx2_block_kernels();  // nullptr where the compiler's target has none

}  // namespace gs::transform
