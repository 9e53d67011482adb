#include "recode/png_filter_x86.hpp"

#include "base/cpu.hpp"

#if defined(__x86_64__)
#if !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"  // in GCC 12's own header
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#if !defined(__clang__)
#pragma GCC diagnostic pop
#endif

namespace gs::png {
namespace {

using Byte = std::uint8_t;

#define GS_AVX2 __attribute__((target("avx2")))
#define GS_VBMI __attribute__((target("avx512f,avx512bw,avx512vbmi")))

// Paeth in bytes: of the three distances, |b - c| and |a - c| fit, and the third, |a + b - 2c|, is
// their sum or their difference, as a and b lie on the same side of c or not; a sum that saturates is
// still the largest.

GS_AVX2 inline __m256i load(const Byte* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

GS_AVX2 inline __m256i at_least(__m256i a, __m256i b) {
    return _mm256_cmpeq_epi8(_mm256_max_epu8(a, b), a);
}

GS_AVX2 inline __m256i difference(__m256i a, __m256i b) {
    return _mm256_or_si256(_mm256_subs_epu8(a, b), _mm256_subs_epu8(b, a));
}

GS_AVX2 inline __m256i half(__m256i a, __m256i b) {
    const __m256i odd = _mm256_and_si256(_mm256_xor_si256(a, b), _mm256_set1_epi8(1));
    return _mm256_sub_epi8(_mm256_avg_epu8(a, b), odd);
}

GS_AVX2 inline __m256i paeth(__m256i a, __m256i b, __m256i c) {
    const __m256i pa = difference(b, c), pb = difference(a, c);
    const __m256i apart = _mm256_xor_si256(at_least(a, c), at_least(b, c));
    const __m256i pc = _mm256_blendv_epi8(_mm256_adds_epu8(pa, pb), difference(pa, pb), apart);
    const __m256i b_or_c = _mm256_blendv_epi8(c, b, at_least(pc, pb));
    return _mm256_blendv_epi8(b_or_c, a, at_least(_mm256_min_epu8(pb, pc), pa));
}

template <Filter F>
GS_AVX2 void filter_rest(const Byte* row, const Byte* above, std::size_t begin, std::size_t size,
                         std::size_t distance, Byte* out) {
    const Byte* const left = row - distance;
    std::size_t i = begin;
    for (; i + 32 <= size; i += 32) {
        __m256i predicted;
        if (F == kSub) predicted = load(left + i);
        if (F == kUp) predicted = load(above + i);
        if (F == kAverage) predicted = half(load(left + i), load(above + i));
        if (F == kPaeth) predicted = paeth(load(left + i), load(above + i), load(above + i - distance));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i), _mm256_sub_epi8(load(row + i), predicted));
    }
    filter_bytes(F, row, above, i, size, distance, out);
}

GS_AVX2 void filter_avx2(Filter filter, const Byte* row, const Byte* above, std::size_t begin,
                         std::size_t size, std::size_t distance, Byte* out) {
    if (filter == kSub) filter_rest<kSub>(row, above, begin, size, distance, out);
    if (filter == kUp) filter_rest<kUp>(row, above, begin, size, distance, out);
    if (filter == kAverage) filter_rest<kAverage>(row, above, begin, size, distance, out);
    if (filter == kPaeth) filter_rest<kPaeth>(row, above, begin, size, distance, out);
}

// The same with 64 bytes at a time. The parts of a row that are left over are read under a mask.
GS_VBMI inline __m512i difference(__m512i a, __m512i b) {
    return _mm512_or_si512(_mm512_subs_epu8(a, b), _mm512_subs_epu8(b, a));
}

GS_VBMI inline __m512i half(__m512i a, __m512i b) {
    const __m512i odd = _mm512_and_si512(_mm512_xor_si512(a, b), _mm512_set1_epi8(1));
    return _mm512_sub_epi8(_mm512_avg_epu8(a, b), odd);
}

GS_VBMI inline __m512i paeth(__m512i a, __m512i b, __m512i c) {
    const __m512i pa = difference(b, c), pb = difference(a, c);
    const __mmask64 apart = _mm512_cmpge_epu8_mask(a, c) ^ _mm512_cmpge_epu8_mask(b, c);
    const __m512i pc = _mm512_mask_blend_epi8(apart, _mm512_adds_epu8(pa, pb), difference(pa, pb));
    const __m512i b_or_c = _mm512_mask_blend_epi8(_mm512_cmple_epu8_mask(pb, pc), c, b);
    return _mm512_mask_blend_epi8(_mm512_cmple_epu8_mask(pa, _mm512_min_epu8(pb, pc)), b_or_c, a);
}

// The costs of 256 values, low and high bytes, in four registers each: looking 64 of them up is two
// permutations and a choice by the top bit.
struct Costs {
    __m512i low[4], high[4];
};

GS_VBMI inline __m512i look_up(const __m512i* t, __m512i index, __mmask64 upper) {
    const __m512i first = _mm512_permutex2var_epi8(t[0], index, t[1]);
    return _mm512_mask_blend_epi8(upper, first, _mm512_permutex2var_epi8(t[2], index, t[3]));
}

// The sum of the costs of those of the 64 bytes that are `there`, in eight parts.
GS_VBMI inline __m512i cost_of(const Costs& costs, __m512i bytes, __mmask64 there) {
    const __mmask64 upper = _mm512_movepi8_mask(bytes);
    const __m512i none = _mm512_setzero_si512();
    const __m512i low = _mm512_maskz_mov_epi8(there, look_up(costs.low, bytes, upper));
    const __m512i high = _mm512_maskz_mov_epi8(there, look_up(costs.high, bytes, upper));
    return _mm512_add_epi64(_mm512_sad_epu8(low, none), _mm512_slli_epi64(_mm512_sad_epu8(high, none), 8));
}

GS_VBMI void costs_vbmi(const Byte* row, const Byte* above, std::size_t begin, std::size_t size,
                        std::size_t distance, const Byte* low, const Byte* high,
                        std::uint64_t sums[kFilters]) {
    Costs costs;
    for (int q = 0; q < 4; q++) {
        costs.low[q] = _mm512_loadu_si512(low + 64 * q);
        costs.high[q] = _mm512_loadu_si512(high + 64 * q);
    }
    __m512i sum[kFilters];
    for (__m512i& s : sum) s = _mm512_setzero_si512();
    for (std::size_t i = begin; i < size; i += 64) {
        const __mmask64 there = size - i >= 64 ? ~__mmask64{0} : (__mmask64{1} << (size - i)) - 1;
        const __m512i x = _mm512_maskz_loadu_epi8(there, row + i);
        const __m512i a = _mm512_maskz_loadu_epi8(there, row + i - distance);
        sum[kNone] = _mm512_add_epi64(sum[kNone], cost_of(costs, x, there));
        sum[kSub] = _mm512_add_epi64(sum[kSub], cost_of(costs, _mm512_sub_epi8(x, a), there));
        if (above == nullptr) continue;
        const __m512i b = _mm512_maskz_loadu_epi8(there, above + i);
        const __m512i c = _mm512_maskz_loadu_epi8(there, above + i - distance);
        sum[kUp] = _mm512_add_epi64(sum[kUp], cost_of(costs, _mm512_sub_epi8(x, b), there));
        sum[kAverage] =
            _mm512_add_epi64(sum[kAverage], cost_of(costs, _mm512_sub_epi8(x, half(a, b)), there));
        sum[kPaeth] =
            _mm512_add_epi64(sum[kPaeth], cost_of(costs, _mm512_sub_epi8(x, paeth(a, b, c)), there));
    }
    for (int f = 0; f < kFilters; f++) sums[f] += static_cast<std::uint64_t>(_mm512_reduce_add_epi64(sum[f]));
}

constexpr FilterKernels kAvx2 = {filter_avx2, nullptr};
constexpr FilterKernels kVbmi = {filter_avx2, costs_vbmi};

// Found when the core is loaded: a fork during a first use would leave a child that waits for it.
const bool vbmi = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512vbmi");

}  // namespace

const FilterKernels* filter_kernels() {
    if (simd_level() < Simd::avx2) return nullptr;
    return vbmi ? &kVbmi : &kAvx2;
}

}  // namespace gs::png

#else

namespace gs::png {

const FilterKernels* filter_kernels() {
    return nullptr;
}

}  // namespace gs::png

#endif
