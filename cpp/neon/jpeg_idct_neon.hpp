// The NEON form of jpeg_idct.hpp's transform, a block at a time. Included by jpeg_kernels_neon.cpp alone.
#pragma once

#include <arm_neon.h>

#include "jpeg/jpeg_idct.hpp"

#if !defined(GS_INLINE)
#define GS_INLINE inline __attribute__((always_inline))
#endif

namespace gs::jpeg {

// The lower and the upper four sums of products of 16-bit values.
struct Sums {
    int32x4_t low, high;
};

GS_INLINE Sums times(int16x8_t v, std::int16_t by) {
    return {vmull_n_s16(vget_low_s16(v), by), vmull_high_n_s16(v, by)};
}
GS_INLINE Sums add_times(Sums s, int16x8_t v, std::int16_t by) {
    return {vmlal_n_s16(s.low, vget_low_s16(v), by), vmlal_high_n_s16(s.high, v, by)};
}
GS_INLINE Sums add(Sums a, Sums b) {
    return {vaddq_s32(a.low, b.low), vaddq_s32(a.high, b.high)};
}
GS_INLINE Sums sub(Sums a, Sums b) {
    return {vsubq_s32(a.low, b.low), vsubq_s32(a.high, b.high)};
}
template <int kShift>
GS_INLINE int16x8_t descale(Sums s) {
    return vqmovn_high_s32(vqmovn_s32(vshrq_n_s32(s.low, kShift)), vshrq_n_s32(s.high, kShift));
}
// Times 2^13, with the rounding of the pass.
template <int kShift>
GS_INLINE Sums even(int16x8_t v) {
    const int32x4_t round = vdupq_n_s32(1 << (kShift - 1));
    return {vaddq_s32(vshll_n_s16(vget_low_s16(v), 13), round), vaddq_s32(vshll_high_n_s16(v, 13), round)};
}

// One pass over eight vectors of 16-bit values. `kShift` is its descaling. `kFew`: the upper four inputs are zero.
template <int kShift, bool kFew>
GS_INLINE void idct_pass(int16x8_t v[8]) {
    Sums even0, even1, even2, even3, odd0, odd1, odd2, odd3;
    if constexpr (kFew) {
        even0 = even1 = even<kShift>(v[0]);
        even2 = times(v[2], 4433);
        even3 = times(v[2], 4433 + 6270);
        odd0 = add_times(times(v[3], 9633 - 16069), v[1], 9633 - 7373);
        odd1 = add_times(times(v[3], 9633 - 20995), v[1], 9633 - 3196);
        odd2 = add_times(times(v[3], 9633 - 16069 + 25172 - 20995), v[1], 9633);
        odd3 = add_times(times(v[3], 9633), v[1], 9633 - 3196 + 12299 - 7373);
    } else {
        even0 = even<kShift>(vaddq_s16(v[0], v[4]));
        even1 = even<kShift>(vsubq_s16(v[0], v[4]));
        even2 = add_times(times(v[2], 4433), v[6], 4433 - 15137);
        even3 = add_times(times(v[2], 4433 + 6270), v[6], 4433);
        const int16x8_t z3 = vaddq_s16(v[7], v[3]), z4 = vaddq_s16(v[5], v[1]);
        const Sums s3 = add_times(times(z3, 9633 - 16069), z4, 9633);
        const Sums s4 = add_times(times(z3, 9633), z4, 9633 - 3196);
        odd0 = add_times(add_times(s3, v[7], 2446 - 7373), v[1], -7373);
        odd1 = add_times(add_times(s4, v[5], 16819 - 20995), v[3], -20995);
        odd2 = add_times(add_times(s3, v[5], -20995), v[3], 25172 - 20995);
        odd3 = add_times(add_times(s4, v[7], -7373), v[1], 12299 - 7373);
    }
    const Sums t10 = add(even0, even3), t13 = sub(even0, even3);
    const Sums t11 = add(even1, even2), t12 = sub(even1, even2);
    v[0] = descale<kShift>(add(t10, odd3));
    v[7] = descale<kShift>(sub(t10, odd3));
    v[1] = descale<kShift>(add(t11, odd2));
    v[6] = descale<kShift>(sub(t11, odd2));
    v[2] = descale<kShift>(add(t12, odd1));
    v[5] = descale<kShift>(sub(t12, odd1));
    v[3] = descale<kShift>(add(t13, odd0));
    v[4] = descale<kShift>(sub(t13, odd0));
}

// 8 x 8 transposition.
GS_INLINE void transpose(int16x8_t v[8]) {
    int32x4_t a[8], b[8];
    for (int i = 0; i < 4; i++) {
        a[2 * i] = vreinterpretq_s32_s16(vzip1q_s16(v[2 * i], v[2 * i + 1]));
        a[2 * i + 1] = vreinterpretq_s32_s16(vzip2q_s16(v[2 * i], v[2 * i + 1]));
    }
    for (int i = 0; i < 2; i++) {
        b[4 * i] = vzip1q_s32(a[4 * i], a[4 * i + 2]);
        b[4 * i + 1] = vzip2q_s32(a[4 * i], a[4 * i + 2]);
        b[4 * i + 2] = vzip1q_s32(a[4 * i + 1], a[4 * i + 3]);
        b[4 * i + 3] = vzip2q_s32(a[4 * i + 1], a[4 * i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        const int64x2_t upper = vreinterpretq_s64_s32(b[i]), lower = vreinterpretq_s64_s32(b[i + 4]);
        v[2 * i] = vreinterpretq_s16_s64(vzip1q_s64(upper, lower));
        v[2 * i + 1] = vreinterpretq_s16_s64(vzip2q_s64(upper, lower));
    }
}

// Two columns of samples around 0 to bytes.
GS_INLINE uint8x16_t samples(int16x8_t first, int16x8_t second) {
    const int8x16_t both = vqmovn_high_s16(vqmovn_s16(first), second);
    return veorq_u8(vreinterpretq_u8_s8(both), vdupq_n_u8(0x80));
}

// Columns to rows.
GS_INLINE void store_columns(const int16x8_t v[8], std::uint8_t* to, std::ptrdiff_t stride) {
    const uint8x16_t c04 = samples(v[0], v[4]), c15 = samples(v[1], v[5]);
    const uint8x16_t c26 = samples(v[2], v[6]), c37 = samples(v[3], v[7]);
    const uint16x8_t c01 = vreinterpretq_u16_u8(vzip1q_u8(c04, c15));
    const uint16x8_t c45 = vreinterpretq_u16_u8(vzip2q_u8(c04, c15));
    const uint16x8_t c23 = vreinterpretq_u16_u8(vzip1q_u8(c26, c37));
    const uint16x8_t c67 = vreinterpretq_u16_u8(vzip2q_u8(c26, c37));
    const uint32x4_t left_low = vreinterpretq_u32_u16(vzip1q_u16(c01, c23));
    const uint32x4_t left_high = vreinterpretq_u32_u16(vzip2q_u16(c01, c23));
    const uint32x4_t right_low = vreinterpretq_u32_u16(vzip1q_u16(c45, c67));
    const uint32x4_t right_high = vreinterpretq_u32_u16(vzip2q_u16(c45, c67));
    const uint32x4_t rows[4] = {vzip1q_u32(left_low, right_low), vzip2q_u32(left_low, right_low),
                                vzip1q_u32(left_high, right_high), vzip2q_u32(left_high, right_high)};
    for (int i = 0; i < 4; i++) {
        const uint8x16_t two = vreinterpretq_u8_u32(rows[i]);
        vst1_u8(to + 2 * i * stride, vget_low_u8(two));
        vst1_u8(to + (2 * i + 1) * stride, vget_high_u8(two));
    }
}

template <bool kFew>
GS_INLINE void idct_block(std::int16_t* block, const std::int16_t* quant, std::uint8_t* to,
                          std::ptrdiff_t stride, uint16x8_t& peak) {
    int16x8_t v[8];
    for (int i = 0; i < (kFew ? 4 : 8); i++) {
        v[i] = vmulq_s16(vld1q_s16(block + 16 * i), vld1q_s16(quant + 16 * i));
        vst1q_s16(block + 16 * i, vdupq_n_s16(0));
    }
    peak = vmaxq_u16(peak, vreinterpretq_u16_s16(vabsq_s16(v[0])));
    idct_pass<11, kFew>(v);
    transpose(v);
    idct_pass<18, kFew>(v);
    store_columns(v, to, stride);
}

// As idct_pair_plain; the largest magnitude of row 0 goes into `peak` instead of being returned.
GS_INLINE void idct_pair_neon(std::int16_t* pair, const std::int16_t* quant, int extent, std::uint8_t* a,
                              std::uint8_t* b, std::ptrdiff_t stride, uint16x8_t& peak) {
    std::uint8_t* const to[2] = {a, b};
    if (extent <= 1) {
        for (int lane = 0; lane < 2; lane++) {
            std::int16_t* const block = pair + 8 * lane;
            const int16x8_t x = vshlq_n_s16(vmulq_s16(vld1q_s16(block), vld1q_s16(quant + 8 * lane)), 2);
            const int16x8_t dc = vdupq_laneq_s16(vrshrq_n_s16(x, 5), 0);
            const uint8x8_t sample = vget_low_u8(samples(dc, dc));
            for (int row = 0; row < 8; row++) vst1_u8(to[lane] + row * stride, sample);
            vst1q_s16(block, vdupq_n_s16(0));
        }
        return;
    }
    // Zigzag positions 0 to 9 lie in the upper left 4 x 4 corner.
    for (int lane = 0; lane < 2; lane++)
        if (extent <= 10)
            idct_block<true>(pair + 8 * lane, quant + 8 * lane, to[lane], stride, peak);
        else
            idct_block<false>(pair + 8 * lane, quant + 8 * lane, to[lane], stride, peak);
}

}  // namespace gs::jpeg
