#include "rows/resample_avx512.hpp"

#if defined(__x86_64__)

#include <algorithm>
#include <cstring>

namespace gs {
namespace {

GS_AVX512 inline __m512i four(const std::int8_t* digits) {
    std::int32_t all;
    std::memcpy(&all, digits, 4);
    return _mm512_set1_epi32(all);
}

GS_AVX512 inline __m512i load(__mmask64 there, const std::uint8_t* from) {
    return _mm512_maskz_loadu_epi8(there, from);
}

}  // namespace

// 64 bytes of a row at a time, four rows per step.
GS_AVX512 void down_avx512(const Axis::Output& out, const std::uint8_t* rgb, std::ptrdiff_t stride, int bytes,
                           std::uint8_t* to) {
    for (int x = 0; x < bytes; x += 64) {
        const std::uint8_t* first = rgb + out.first * stride + x;
        const __mmask64 there = bytes - x >= 64 ? ~__mmask64{0} : (__mmask64{1} << (bytes - x)) - 1;
        DigitSums sums[4] = {DigitSums::zero(), DigitSums::zero(), DigitSums::zero(), DigitSums::zero()};
        for (int g = 0; g < out.groups; g++) {
            // The last rows of the last group may not exist; their weights are 0.
            const auto row = [&](int i) { return first + std::min(4 * g + i, out.count - 1) * stride; };
            const __m512i a = load(there, row(0)), b = load(there, row(1));
            const __m512i c = load(there, row(2)), d = load(there, row(3));
            const __m512i near_ab = _mm512_unpacklo_epi8(a, b), far_ab = _mm512_unpackhi_epi8(a, b);
            const __m512i near_cd = _mm512_unpacklo_epi8(c, d), far_cd = _mm512_unpackhi_epi8(c, d);
            const __m512i values[4] = {
                _mm512_unpacklo_epi16(near_ab, near_cd), _mm512_unpackhi_epi16(near_ab, near_cd),
                _mm512_unpacklo_epi16(far_ab, far_cd), _mm512_unpackhi_epi16(far_ab, far_cd)};
            const Axis::Digits& weights = out.digits[g];
            const __m512i low = four(weights.low), middle = four(weights.middle), high = four(weights.high);
            for (int k = 0; k < 4; k++) sums[k].add(values[k], low, middle, high);
        }
        // the packs undo the unpacks: both work within 16-byte lanes
        const __m512i packed = _mm512_packus_epi16(_mm512_packs_epi32(sums[0].whole(), sums[1].whole()),
                                                   _mm512_packs_epi32(sums[2].whole(), sums[3].whole()));
        _mm512_mask_storeu_epi8(to + x, there, packed);
    }
}

}  // namespace gs

#endif
