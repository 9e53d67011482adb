#include "transform/resample_rows.hpp"

#include <cstring>

#include "base/cpu.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace gs::transform {
namespace {

#if defined(__x86_64__)

// Sums of two rows, as 32-bit entries of both halves, to one vector with a row in each half.
__attribute__((target("avx2"))) inline __m256i gather(__m256i a_low, __m256i a_high, __m256i b_low,
                                                      __m256i b_high) {
    const __m256i a = _mm256_add_epi32(a_low, _mm256_slli_epi32(a_high, 15));
    const __m256i b = _mm256_add_epi32(b_low, _mm256_slli_epi32(b_high, 15));
    return _mm256_add_epi32(_mm256_permute2x128_si256(a, b, 0x20), _mm256_permute2x128_si256(a, b, 0x31));
}

// The arithmetic of resample_across: weights in two parts, products of 16 bits, exact sums modulo 2^32.
__attribute__((target("avx2"))) void across_four(const Axis& axis, const std::uint8_t* const rows[4],
                                                 std::uint8_t* const to[4]) {
    constexpr int kFraction = 22;
    const __m256i pairs = _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1,  //
                                           6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
    const __m256i low_of = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
    const __m256i high_of = _mm256_setr_epi32(2, 2, 2, 2, 3, 3, 3, 3);
    const __m256i half = _mm256_set1_epi32(1 << (kFraction - 1));
    for (int i = 0; i < axis.outputs(); i++) {
        const Axis::Output out = axis.output(i);
        __m256i low[4], high[4];
        for (int r = 0; r < 4; r++) low[r] = high[r] = _mm256_setzero_si256();
        for (int g = 0; g < out.groups; g++) {
            const __m256i weights =
                _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(out.split + g)));
            const __m256i low_weights = _mm256_permutevar8x32_epi32(weights, low_of);
            const __m256i high_weights = _mm256_permutevar8x32_epi32(weights, high_of);
            const std::ptrdiff_t at = std::ptrdiff_t{3} * out.first + std::ptrdiff_t{12} * g;
            for (int r = 0; r < 4; r++) {
                const __m256i values =
                    _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(
                                            _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[r] + at))),
                                        pairs);
                low[r] = _mm256_add_epi32(low[r], _mm256_madd_epi16(values, low_weights));
                high[r] = _mm256_add_epi32(high[r], _mm256_madd_epi16(values, high_weights));
            }
        }
        __m256i first = gather(low[0], high[0], low[1], high[1]);
        __m256i second = gather(low[2], high[2], low[3], high[3]);
        first = _mm256_srai_epi32(_mm256_add_epi32(first, half), kFraction);
        second = _mm256_srai_epi32(_mm256_add_epi32(second, half), kFraction);
        __m256i bytes = _mm256_packs_epi32(first, second);
        bytes = _mm256_packus_epi16(bytes, bytes);  // rows 0 and 2 in the lower half, 1 and 3 in the upper
        const __m128i lower = _mm256_castsi256_si128(bytes), upper = _mm256_extracti128_si256(bytes, 1);
        const int pixels[4] = {_mm_cvtsi128_si32(lower), _mm_cvtsi128_si32(upper),
                               _mm_extract_epi32(lower, 1), _mm_extract_epi32(upper, 1)};
        // Four bytes for three: the next pixel writes over the fourth.
        for (int r = 0; r < 4; r++) std::memcpy(to[r] + 3 * i, &pixels[r], 4);
    }
}

#endif

}  // namespace

void resample_rows_across(const Axis& axis, const std::uint8_t* rgb, std::ptrdiff_t stride, int count,
                          const Canvas& out) {
#if defined(__x86_64__)
    if (simd_level() >= Simd::avx2) {
        for (int y = 0; y < count; y += 4) {
            const std::uint8_t* rows[4];
            std::uint8_t* to[4];
            for (int r = 0; r < 4; r++) {
                const int row = std::min(y + r, count - 1);  // at the end the last row is done more than once
                rows[r] = rgb + row * stride;
                to[r] = out.row(row);
            }
            across_four(axis, rows, to);
        }
        return;
    }
#endif
    for (int y = 0; y < count; y++) resample_across(axis, rgb + y * stride, out.row(y));
}

}  // namespace gs::transform
