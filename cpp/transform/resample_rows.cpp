#include "transform/resample_rows.hpp"

#include <cstring>

#include "base/cpu.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace gs::transform {
namespace {

#if defined(__x86_64__)

// The arithmetic of resample_across: weights in two parts, products of 16 bits, exact sums modulo 2^32. Two taps at a
// time, with rows 0 and 2 in the lower halves of two vectors and rows 1 and 3 in the upper ones.
__attribute__((target("avx2"))) void across_four(const Axis& axis, const std::uint8_t* const rows[4],
                                                 std::uint8_t* const to[4]) {
    constexpr int kFraction = 22;
    const __m256i pairs =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1));
    const __m256i half = _mm256_set1_epi32(1 << (kFraction - 1));
    const std::uint8_t *row0 = rows[0], *row1 = rows[1], *row2 = rows[2], *row3 = rows[3];
    const auto values = [&](const std::uint8_t* lower, const std::uint8_t* upper)
        __attribute__((target("avx2"))) {
        const __m256i both = _mm256_inserti128_si256(
            _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(lower))),
            _mm_loadu_si128(reinterpret_cast<const __m128i*>(upper)), 1);
        return _mm256_shuffle_epi8(both, pairs);
    };
    for (int i = 0; i < axis.outputs(); i++) {
        const Axis::Output out = axis.output(i);
        __m256i low_a = half, low_b = half, high_a = _mm256_setzero_si256(), high_b = high_a;
        const std::ptrdiff_t first = std::ptrdiff_t{3} * out.first;
        for (int j = 0; j < out.count; j += 2) {
            const Axis::Split& split = out.split[j / 4];
            std::int32_t l, h;
            std::memcpy(&l, split.low + (j & 2), 4);
            std::memcpy(&h, split.high + (j & 2), 4);
            const __m256i low = _mm256_set1_epi32(l), high = _mm256_set1_epi32(h);
            const std::ptrdiff_t at = first + std::ptrdiff_t{3} * j;
            const __m256i a = values(row0 + at, row1 + at), b = values(row2 + at, row3 + at);
            low_a = _mm256_add_epi32(low_a, _mm256_madd_epi16(a, low));
            high_a = _mm256_add_epi32(high_a, _mm256_madd_epi16(a, high));
            low_b = _mm256_add_epi32(low_b, _mm256_madd_epi16(b, low));
            high_b = _mm256_add_epi32(high_b, _mm256_madd_epi16(b, high));
        }
        const __m256i sum_a =
            _mm256_srai_epi32(_mm256_add_epi32(low_a, _mm256_slli_epi32(high_a, 15)), kFraction);
        const __m256i sum_b =
            _mm256_srai_epi32(_mm256_add_epi32(low_b, _mm256_slli_epi32(high_b, 15)), kFraction);
        __m256i bytes = _mm256_packs_epi32(sum_a, sum_b);
        bytes = _mm256_packus_epi16(bytes, bytes);
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
