// The vector paths of output.cpp for AArch64. NEON loads interleaved bytes apart; a row that is no multiple of 16 ends
// with a block that overlaps the one before and writes the same values again. Narrower rows go the plain way.
#include "image/output_simd.hpp"

#if defined(__aarch64__)

#include <arm_neon.h>

namespace gs {
namespace {

constexpr int kBlock = 16;

template <bool kFlip>
inline uint8x16_t in_order(uint8x16_t v) {
    if constexpr (!kFlip) return v;
    const uint8x16_t halves = vrev64q_u8(v);
    return vextq_u8(halves, halves, 8);
}

template <bool kFlip>
void store_u8(const std::uint8_t* rgb, int width, const Normalizer&, std::uint8_t* const planes[3]) {
    for (int x = 0;; x += kBlock) {
        if (x > width - kBlock) x = width - kBlock;
        const uint8x16x3_t pixels = vld3q_u8(rgb + 3 * x);
        const int to = kFlip ? width - kBlock - x : x;
        for (int c = 0; c < 3; c++) vst1q_u8(planes[c] + to, in_order<kFlip>(pixels.val[c]));
        if (x == width - kBlock) return;
    }
}

// Four pixels by the double-precision rule.
inline float32x4_t normalize4(uint32x4_t values, float64x2_t scale, float64x2_t bias) {
    const float64x2_t low = vcvtq_f64_u64(vmovl_u32(vget_low_u32(values)));
    const float64x2_t high = vcvtq_f64_u64(vmovl_high_u32(values));
    return vcvt_high_f32_f64(vcvt_f32_f64(vfmaq_f64(bias, low, scale)), vfmaq_f64(bias, high, scale));
}

template <bool kFlip, bool kHalf>
void store_float(const std::uint8_t* rgb, int width, const Normalizer& n, std::uint8_t* const planes[3]) {
    for (int x = 0;; x += kBlock) {
        if (x > width - kBlock) x = width - kBlock;
        const uint8x16x3_t pixels = vld3q_u8(rgb + 3 * x);
        const int to = kFlip ? width - kBlock - x : x;
        for (int c = 0; c < 3; c++) {
            const float64x2_t scale = vdupq_n_f64(n.scale[c]), bias = vdupq_n_f64(n.bias[c]);
            const uint8x16_t bytes = in_order<kFlip>(pixels.val[c]);
            const uint16x8_t halves[2] = {vmovl_u8(vget_low_u8(bytes)), vmovl_high_u8(bytes)};
            for (int i = 0; i < 2; i++) {
                const float32x4_t first = normalize4(vmovl_u16(vget_low_u16(halves[i])), scale, bias);
                const float32x4_t second = normalize4(vmovl_high_u16(halves[i]), scale, bias);
                if constexpr (kHalf) {
                    const float16x8_t rounded = vcvt_high_f16_f32(vcvt_f16_f32(first), second);
                    vst1q_u16(reinterpret_cast<std::uint16_t*>(planes[c]) + to + 8 * i,
                              vreinterpretq_u16_f16(rounded));
                } else {
                    float* const plane = reinterpret_cast<float*>(planes[c]) + to + 8 * i;
                    vst1q_f32(plane, first);
                    vst1q_f32(plane + 4, second);
                }
            }
        }
        if (x == width - kBlock) return;
    }
}

}  // namespace

StoreRow choose_simd_store(Element element, bool flip, int width, Simd level, bool affine) {
    if (width < kBlock || level == Simd::plain) return nullptr;
    if (element == Element::u8) return flip ? store_u8<true> : store_u8<false>;
    if (!affine) return nullptr;
    if (element == Element::f16) return flip ? store_float<true, true> : store_float<false, true>;
    return flip ? store_float<true, false> : store_float<false, false>;
}

}  // namespace gs

#endif
