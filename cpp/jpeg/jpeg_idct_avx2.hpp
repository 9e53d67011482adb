// The AVX2 form of jpeg_idct.hpp's transform: each 128-bit lane is a block. Included
// by jpeg_kernels_avx2.cpp alone.
#pragma once

#include <immintrin.h>

#include "jpeg/jpeg_idct.hpp"

#define GS_AVX2 __attribute__((target("avx2,bmi,bmi2,lzcnt")))
#define GS_AVX2_INLINE inline __attribute__((always_inline, target("avx2,bmi,bmi2,lzcnt")))

namespace gs::jpeg {

// Pairs of factors for _mm256_madd_epi16: `first` multiplies the even entries.
GS_AVX2_INLINE __m256i factors(int first, int second) {
    return _mm256_set1_epi32(static_cast<int>(static_cast<std::uint32_t>(first & 0xFFFF) |
                                              static_cast<std::uint32_t>(second) << 16));
}

// One pass over eight vectors of 16-bit values. `kShift` is its descaling; the rounding is added to the even
// part once. `kFew`: the upper four inputs are zero.
template <int kShift, bool kFew>
GS_AVX2_INLINE void idct_pass(__m256i v[8]) {
    const __m256i zero = _mm256_setzero_si256();
    const __m256i round = _mm256_set1_epi32(1 << (kShift - 1));
    // Halves of the vectors: index 0 holds the lower four entries of each lane, 1 the upper four.
    __m256i even0[2], even1[2], even2[2], even3[2], odd0[2], odd1[2], odd2[2], odd3[2];

    if (kFew) {
        // 16-bit values in the upper halves of 32: >> 3 leaves them times 2^13.
        even0[0] = _mm256_add_epi32(_mm256_srai_epi32(_mm256_unpacklo_epi16(zero, v[0]), 3), round);
        even0[1] = _mm256_add_epi32(_mm256_srai_epi32(_mm256_unpackhi_epi16(zero, v[0]), 3), round);
        even1[0] = even0[0];
        even1[1] = even0[1];
        const __m256i lo = _mm256_unpacklo_epi16(v[2], zero), hi = _mm256_unpackhi_epi16(v[2], zero);
        even2[0] = _mm256_madd_epi16(lo, factors(4433, 0));
        even2[1] = _mm256_madd_epi16(hi, factors(4433, 0));
        even3[0] = _mm256_madd_epi16(lo, factors(4433 + 6270, 0));
        even3[1] = _mm256_madd_epi16(hi, factors(4433 + 6270, 0));
        // With inputs 5 and 7 zero, z3 is input 3 and z4 input 1, and each odd sum one pair of products.
        const __m256i lo31 = _mm256_unpacklo_epi16(v[3], v[1]), hi31 = _mm256_unpackhi_epi16(v[3], v[1]);
        odd0[0] = _mm256_madd_epi16(lo31, factors(9633 - 16069, 9633 - 7373));
        odd0[1] = _mm256_madd_epi16(hi31, factors(9633 - 16069, 9633 - 7373));
        odd1[0] = _mm256_madd_epi16(lo31, factors(9633 - 20995, 9633 - 3196));
        odd1[1] = _mm256_madd_epi16(hi31, factors(9633 - 20995, 9633 - 3196));
        odd2[0] = _mm256_madd_epi16(lo31, factors(9633 - 16069 + 25172 - 20995, 9633));
        odd2[1] = _mm256_madd_epi16(hi31, factors(9633 - 16069 + 25172 - 20995, 9633));
        odd3[0] = _mm256_madd_epi16(lo31, factors(9633, 9633 - 3196 + 12299 - 7373));
        odd3[1] = _mm256_madd_epi16(hi31, factors(9633, 9633 - 3196 + 12299 - 7373));
    } else {
        const __m256i sum = _mm256_add_epi16(v[0], v[4]), difference = _mm256_sub_epi16(v[0], v[4]);
        even0[0] = _mm256_add_epi32(_mm256_srai_epi32(_mm256_unpacklo_epi16(zero, sum), 3), round);
        even0[1] = _mm256_add_epi32(_mm256_srai_epi32(_mm256_unpackhi_epi16(zero, sum), 3), round);
        even1[0] = _mm256_add_epi32(_mm256_srai_epi32(_mm256_unpacklo_epi16(zero, difference), 3), round);
        even1[1] = _mm256_add_epi32(_mm256_srai_epi32(_mm256_unpackhi_epi16(zero, difference), 3), round);
        const __m256i lo26 = _mm256_unpacklo_epi16(v[2], v[6]), hi26 = _mm256_unpackhi_epi16(v[2], v[6]);
        even2[0] = _mm256_madd_epi16(lo26, factors(4433, 4433 - 15137));
        even2[1] = _mm256_madd_epi16(hi26, factors(4433, 4433 - 15137));
        even3[0] = _mm256_madd_epi16(lo26, factors(4433 + 6270, 4433));
        even3[1] = _mm256_madd_epi16(hi26, factors(4433 + 6270, 4433));

        const __m256i z3 = _mm256_add_epi16(v[7], v[3]), z4 = _mm256_add_epi16(v[5], v[1]);
        const __m256i loz = _mm256_unpacklo_epi16(z3, z4), hiz = _mm256_unpackhi_epi16(z3, z4);
        const __m256i s3lo = _mm256_madd_epi16(loz, factors(9633 - 16069, 9633));
        const __m256i s3hi = _mm256_madd_epi16(hiz, factors(9633 - 16069, 9633));
        const __m256i s4lo = _mm256_madd_epi16(loz, factors(9633, 9633 - 3196));
        const __m256i s4hi = _mm256_madd_epi16(hiz, factors(9633, 9633 - 3196));
        const __m256i lo71 = _mm256_unpacklo_epi16(v[7], v[1]), hi71 = _mm256_unpackhi_epi16(v[7], v[1]);
        const __m256i lo53 = _mm256_unpacklo_epi16(v[5], v[3]), hi53 = _mm256_unpackhi_epi16(v[5], v[3]);
        odd0[0] = _mm256_add_epi32(_mm256_madd_epi16(lo71, factors(2446 - 7373, -7373)), s3lo);
        odd0[1] = _mm256_add_epi32(_mm256_madd_epi16(hi71, factors(2446 - 7373, -7373)), s3hi);
        odd3[0] = _mm256_add_epi32(_mm256_madd_epi16(lo71, factors(-7373, 12299 - 7373)), s4lo);
        odd3[1] = _mm256_add_epi32(_mm256_madd_epi16(hi71, factors(-7373, 12299 - 7373)), s4hi);
        odd1[0] = _mm256_add_epi32(_mm256_madd_epi16(lo53, factors(16819 - 20995, -20995)), s4lo);
        odd1[1] = _mm256_add_epi32(_mm256_madd_epi16(hi53, factors(16819 - 20995, -20995)), s4hi);
        odd2[0] = _mm256_add_epi32(_mm256_madd_epi16(lo53, factors(-20995, 25172 - 20995)), s3lo);
        odd2[1] = _mm256_add_epi32(_mm256_madd_epi16(hi53, factors(-20995, 25172 - 20995)), s3hi);
    }

    __m256i t10[2], t11[2], t12[2], t13[2];
    for (int h = 0; h < 2; h++) {
        t10[h] = _mm256_add_epi32(even0[h], even3[h]);
        t13[h] = _mm256_sub_epi32(even0[h], even3[h]);
        t11[h] = _mm256_add_epi32(even1[h], even2[h]);
        t12[h] = _mm256_sub_epi32(even1[h], even2[h]);
    }
#define GS_OUT(plus, minus, even, odd)                                                          \
    v[plus] = _mm256_packs_epi32(_mm256_srai_epi32(_mm256_add_epi32(even[0], odd[0]), kShift),  \
                                 _mm256_srai_epi32(_mm256_add_epi32(even[1], odd[1]), kShift)); \
    v[minus] = _mm256_packs_epi32(_mm256_srai_epi32(_mm256_sub_epi32(even[0], odd[0]), kShift), \
                                  _mm256_srai_epi32(_mm256_sub_epi32(even[1], odd[1]), kShift))
    GS_OUT(0, 7, t10, odd3);
    GS_OUT(1, 6, t11, odd2);
    GS_OUT(2, 5, t12, odd1);
    GS_OUT(3, 4, t13, odd0);
#undef GS_OUT
}

// 8 x 8 transposition of 16-bit entries within each lane.
GS_AVX2_INLINE void transpose(__m256i v[8]) {
    __m256i a[8], b[8];
    for (int i = 0; i < 4; i++) {
        a[2 * i] = _mm256_unpacklo_epi16(v[2 * i], v[2 * i + 1]);
        a[2 * i + 1] = _mm256_unpackhi_epi16(v[2 * i], v[2 * i + 1]);
    }
    for (int i = 0; i < 2; i++) {
        b[4 * i] = _mm256_unpacklo_epi32(a[4 * i], a[4 * i + 2]);
        b[4 * i + 1] = _mm256_unpackhi_epi32(a[4 * i], a[4 * i + 2]);
        b[4 * i + 2] = _mm256_unpacklo_epi32(a[4 * i + 1], a[4 * i + 3]);
        b[4 * i + 3] = _mm256_unpackhi_epi32(a[4 * i + 1], a[4 * i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        v[2 * i] = _mm256_unpacklo_epi64(b[i], b[i + 4]);
        v[2 * i + 1] = _mm256_unpackhi_epi64(b[i], b[i + 4]);
    }
}

GS_AVX2_INLINE void store_two_rows(__m128i rows, std::uint8_t* to, std::ptrdiff_t stride) {
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to), rows);
    _mm_storeh_pd(reinterpret_cast<double*>(to + stride), _mm_castsi128_pd(rows));
}

// As idct_pair_plain; the largest magnitude of row 0 goes into `peak` instead of being returned.
GS_AVX2_INLINE void idct_pair_avx2(std::int16_t* pair, const std::int16_t* quant, int extent, std::uint8_t* a,
                                   std::uint8_t* b, std::ptrdiff_t stride, __m256i& peak) {
    auto* rows = reinterpret_cast<__m256i*>(pair);
    const auto* factor = reinterpret_cast<const __m256i*>(quant);
    const __m256i zero = _mm256_setzero_si256();
    if (extent <= 1) {
        __m256i x =
            _mm256_slli_epi16(_mm256_mullo_epi16(_mm256_load_si256(rows), _mm256_load_si256(factor)), 2);
        // (x + 16) >> 5 without overflow: x is a multiple of 4, so that the saturated sum differs only above
        // what is clamped to 8 bits anyway.
        x = _mm256_srai_epi16(_mm256_adds_epi16(x, _mm256_set1_epi16(16)), 5);
        x = _mm256_add_epi8(_mm256_packs_epi16(x, x), _mm256_set1_epi8(-128));
        x = _mm256_shuffle_epi8(x, zero);  // entry 0 of each lane everywhere
        const __m128i low = _mm256_castsi256_si128(x), high = _mm256_extracti128_si256(x, 1);
        for (int row = 0; row < 8; row++) {
            _mm_storel_epi64(reinterpret_cast<__m128i*>(a + row * stride), low);
            _mm_storel_epi64(reinterpret_cast<__m128i*>(b + row * stride), high);
        }
        _mm256_store_si256(rows, zero);
        return;
    }
    __m256i v[8];
    if (extent <= 10) {
        // Zigzag positions 0 to 9 lie in the upper left 4 x 4 corner.
        for (int i = 0; i < 4; i++) {
            v[i] = _mm256_mullo_epi16(_mm256_load_si256(rows + i), _mm256_load_si256(factor + i));
            _mm256_store_si256(rows + i, zero);
        }
        v[4] = v[5] = v[6] = v[7] = zero;
        peak = _mm256_max_epu16(peak, _mm256_abs_epi16(v[0]));
        idct_pass<11, true>(v);
        transpose(v);
        idct_pass<18, true>(v);
    } else {
        for (int i = 0; i < 8; i++) {
            v[i] = _mm256_mullo_epi16(_mm256_load_si256(rows + i), _mm256_load_si256(factor + i));
            _mm256_store_si256(rows + i, zero);
        }
        peak = _mm256_max_epu16(peak, _mm256_abs_epi16(v[0]));
        idct_pass<11, false>(v);
        transpose(v);
        idct_pass<18, false>(v);
    }
    // v[c] holds column c. To bytes, then transposed: columns 0-3 in one half, 4-7 in the other.
    const __m256i centre = _mm256_set1_epi8(-128);
    const __m256i c04 = _mm256_packs_epi16(v[0], v[4]), c15 = _mm256_packs_epi16(v[1], v[5]);
    const __m256i c26 = _mm256_packs_epi16(v[2], v[6]), c37 = _mm256_packs_epi16(v[3], v[7]);
    const __m256i c01 = _mm256_unpacklo_epi8(c04, c15), c45 = _mm256_unpackhi_epi8(c04, c15);
    const __m256i c23 = _mm256_unpacklo_epi8(c26, c37), c67 = _mm256_unpackhi_epi8(c26, c37);
    const __m256i left_low = _mm256_unpacklo_epi16(c01, c23), left_high = _mm256_unpackhi_epi16(c01, c23);
    const __m256i right_low = _mm256_unpacklo_epi16(c45, c67), right_high = _mm256_unpackhi_epi16(c45, c67);
    const __m256i out[4] = {_mm256_add_epi8(_mm256_unpacklo_epi32(left_low, right_low), centre),
                            _mm256_add_epi8(_mm256_unpackhi_epi32(left_low, right_low), centre),
                            _mm256_add_epi8(_mm256_unpacklo_epi32(left_high, right_high), centre),
                            _mm256_add_epi8(_mm256_unpackhi_epi32(left_high, right_high), centre)};
    for (int i = 0; i < 4; i++) {
        store_two_rows(_mm256_castsi256_si128(out[i]), a + 2 * i * stride, stride);
        store_two_rows(_mm256_extracti128_si256(out[i], 1), b + 2 * i * stride, stride);
    }
}

}  // namespace gs::jpeg
