// resample_down by AVX-512: sums of four products of bytes at once.
//
// A weight is three bytes with signs (Axis::Digits). Their products with the pixels are summed apart, and the sums put
// together at the end: exact modulo 2^32, as the plain sum is.
#pragma once

#if defined(__x86_64__)

// GCC 12 takes what these headers leave undefined on purpose for a mistake.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#include "rows/resample.hpp"

#define GS_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")))

namespace gs {

// Sixteen values on their way.
struct DigitSums {
    __m512i low, middle, high;

    GS_AVX512 static DigitSums zero() {
        return {_mm512_set1_epi32(1 << (kWeightBits - 1)), _mm512_setzero_si512(), _mm512_setzero_si512()};
    }
    // Four bytes for each value, and as many digits.
    GS_AVX512 void add(__m512i bytes, __m512i lows, __m512i middles, __m512i highs) {
        low = _mm512_dpbusd_epi32(low, bytes, lows);
        middle = _mm512_dpbusd_epi32(middle, bytes, middles);
        high = _mm512_dpbusd_epi32(high, bytes, highs);
    }
    GS_AVX512 __m512i whole() const {
        const __m512i lower = _mm512_add_epi32(low, _mm512_slli_epi32(middle, 8));
        const __m512i sum = _mm512_add_epi32(lower, _mm512_slli_epi32(high, 16));
        return _mm512_srai_epi32(sum, kWeightBits);
    }
};

void down_avx512(const Axis::Output& out, const std::uint8_t* rgb, std::ptrdiff_t stride, int bytes,
                 std::uint8_t* to);

}  // namespace gs

#endif
