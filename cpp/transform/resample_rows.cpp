#include "transform/resample_rows.hpp"

#include <algorithm>
#include <cstring>

#include "base/cpu.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace gs::transform {
namespace {

constexpr int kMostApart = 3;  // pixels between the taps of neighbours, for both to lie in 16 bytes
constexpr int kValues = 8, kLane = 4;

#if defined(__x86_64__)

// The arithmetic of resample_across: weights in two parts, products of 16 bits, exact sums modulo 2^32.
constexpr int kFraction = 22;

__attribute__((target("avx2"))) inline __m256i whole(__m256i low, __m256i high) {
    return _mm256_srai_epi32(_mm256_add_epi32(low, _mm256_slli_epi32(high, 15)), kFraction);
}

__attribute__((target("avx2"))) void across_blocks(const RowsAcross::Block* block, int count,
                                                   const RowsAcross::Step* steps,
                                                   const std::uint8_t* const rows[kRowsAcross],
                                                   std::uint8_t* const to[kRowsAcross]) {
    const __m256i half = _mm256_set1_epi32(1 << (kFraction - 1));
    const __m256i by_row = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    for (int i = 0; i < count; i++, block++) {
        __m256i low[kRowsAcross], high[kRowsAcross];
        for (int r = 0; r < kRowsAcross; r++) low[r] = half, high[r] = _mm256_setzero_si256();
        const __m256i order = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block->order));
        const RowsAcross::Step* step = steps + block->first_step;
        std::ptrdiff_t first = block->at[0], second = block->at[1];
        for (const auto* end = step + block->steps; step < end; step++, first += 6, second += 6) {
            const __m256i lows = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(step->low));
            const __m256i highs = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(step->high));
            for (int r = 0; r < kRowsAcross; r++) {
                const __m256i bytes = _mm256_inserti128_si256(
                    _mm256_castsi128_si256(
                        _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[r] + first))),
                    _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[r] + second)), 1);
                const __m256i values = _mm256_shuffle_epi8(bytes, order);
                low[r] = _mm256_add_epi32(low[r], _mm256_madd_epi16(values, lows));
                high[r] = _mm256_add_epi32(high[r], _mm256_madd_epi16(values, highs));
            }
        }
        // Four values of each row in either lane, then eight of each row.
        const __m256i packed =
            _mm256_packus_epi16(_mm256_packs_epi32(whole(low[0], high[0]), whole(low[1], high[1])),
                                _mm256_packs_epi32(whole(low[2], high[2]), whole(low[3], high[3])));
        const __m256i bytes = _mm256_permutevar8x32_epi32(packed, by_row);
        const __m128i upper = _mm256_castsi256_si128(bytes), lower = _mm256_extracti128_si256(bytes, 1);
        const std::ptrdiff_t at = std::ptrdiff_t{kValues} * i;
        _mm_storel_epi64(reinterpret_cast<__m128i*>(to[0] + at), upper);
        _mm_storeh_pd(reinterpret_cast<double*>(to[1] + at), _mm_castsi128_pd(upper));
        _mm_storel_epi64(reinterpret_cast<__m128i*>(to[2] + at), lower);
        _mm_storeh_pd(reinterpret_cast<double*>(to[3] + at), _mm_castsi128_pd(lower));
    }
}

// Two taps at a time of a pixel, wherever they lie, with rows 0 and 2 in the lower halves of two vectors and rows 1 and
// 3 in the upper ones.
__attribute__((target("avx2"))) void across_pixels(const Axis& axis,
                                                   const std::uint8_t* const rows[kRowsAcross],
                                                   std::uint8_t* const to[kRowsAcross]) {
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
        __m256i bytes = _mm256_packs_epi32(whole(low_a, high_a), whole(low_b, high_b));
        bytes = _mm256_packus_epi16(bytes, bytes);
        const __m128i lower = _mm256_castsi256_si128(bytes), upper = _mm256_extracti128_si256(bytes, 1);
        const int pixels[4] = {_mm_cvtsi128_si32(lower), _mm_cvtsi128_si32(upper),
                               _mm_extract_epi32(lower, 1), _mm_extract_epi32(upper, 1)};
        // Four bytes for three: the next pixel writes over the fourth.
        for (int r = 0; r < kRowsAcross; r++) std::memcpy(to[r] + 3 * i, &pixels[r], 4);
    }
}

#endif

}  // namespace

void RowsAcross::plan(const Axis& axis, Buffer& memory) {
    axis_ = &axis;
    count_ = 0;
    is_wide_ = wide_.plan(axis, kRowSlack, memory);
    if (is_wide_ || simd_level() < Simd::avx2) return;
    const int values = 3 * axis.outputs(), blocks = (values + kValues - 1) / kValues;
    int most = 0;
    for (int i = 0; i < axis.outputs(); i++) {
        const Axis::Output out = axis.output(i);
        most = std::max(most, (out.count + 1) / 2);
        if (i > 0 && out.first - axis.output(i - 1).first > kMostApart) return;
    }
    const auto n = static_cast<std::size_t>(blocks);
    std::uint8_t* at = memory.reserve(n * (sizeof(Block) + static_cast<std::size_t>(most) * sizeof(Step)));
    steps_ = reinterpret_cast<Step*>(at);
    blocks_ = reinterpret_cast<Block*>(at + n * static_cast<std::size_t>(most) * sizeof(Step));
    int made = 0;
    for (int b = 0; b < blocks; b++) {
        Block& block = blocks_[b];
        block.first_step = made;
        block.steps = 0;
        std::memset(block.order, 0x80, sizeof block.order);
        for (int i = 0; i < kValues; i++) {
            const int value = std::min(kValues * b + i, values - 1);
            const Axis::Output out = axis.output(value / 3);
            if (i % kLane == 0) block.at[i / kLane] = 3 * out.first;
            const int from = 3 * out.first + value % 3 - block.at[i / kLane];
            block.order[4 * i] = static_cast<std::uint8_t>(from);
            block.order[4 * i + 2] = static_cast<std::uint8_t>(from + 3);
            block.steps = std::max(block.steps, (out.count + 1) / 2);
        }
        for (int k = 0; k < block.steps; k++, made++)
            for (int i = 0; i < kValues; i++) {
                const Axis::Output out = axis.output(std::min(kValues * b + i, values - 1) / 3);
                Step& step = steps_[made];
                if (2 * k >= out.count) {
                    std::memset(step.low + 2 * i, 0, 4);
                    std::memset(step.high + 2 * i, 0, 4);
                    continue;
                }
                std::memcpy(step.low + 2 * i, out.split[k / 2].low + 2 * (k % 2), 4);
                std::memcpy(step.high + 2 * i, out.split[k / 2].high + 2 * (k % 2), 4);
            }
    }
    count_ = blocks;
}

void RowsAcross::run(const std::uint8_t* rgb, std::ptrdiff_t stride, int count, const Canvas& out) const {
#if defined(__x86_64__)
    if (simd_level() >= Simd::avx2) {
        for (int y = 0; y < count; y += kRowsAcross) {
            const std::uint8_t* rows[kRowsAcross];
            std::uint8_t* to[kRowsAcross];
            for (int r = 0; r < kRowsAcross; r++) {
                const int row = std::min(y + r, count - 1);  // at the end the last row is done more than once
                rows[r] = rgb + row * stride;
                to[r] = out.row(row);
            }
            if (is_wide_)
                wide_.run(rows, to);
            else if (count_ > 0)
                across_blocks(blocks_, count_, steps_, rows, to);
            else
                across_pixels(*axis_, rows, to);
        }
        return;
    }
#endif
    for (int y = 0; y < count; y++) resample_across(*axis_, rgb + y * stride, out.row(y));
}

}  // namespace gs::transform
