#include "rows/across_avx512.hpp"

#include <algorithm>
#include <cstring>

#include "base/cpu.hpp"
#include "rows/resample_avx512.hpp"

namespace gs {

#if defined(__x86_64__)

namespace {

constexpr int kValues = 16, kTaps = 4, kWindow = 64;

template <bool kFar>
GS_AVX512 void across(const WideAcross::Block* block, int count, const WideAcross::Step* steps,
                      const std::uint8_t* const rows[kRowsAcross], std::uint8_t* const to[kRowsAcross]) {
    const __m512i by_row = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    for (int i = 0; i < count; i++, block++) {
        DigitSums sums[kRowsAcross] = {DigitSums::zero(), DigitSums::zero(), DigitSums::zero(),
                                       DigitSums::zero()};
        const __m512i order = _mm512_loadu_si512(block->order);
        const WideAcross::Step* step = steps + block->first_step;
        std::ptrdiff_t at = block->at;
        for (const auto* end = step + block->steps; step < end; step++, at += 3 * kTaps) {
            const __m512i low = _mm512_loadu_si512(step->low), middle = _mm512_loadu_si512(step->middle),
                          high = _mm512_loadu_si512(step->high);
            for (int r = 0; r < kRowsAcross; r++) {
                __m512i bytes = _mm512_loadu_si512(rows[r] + at);
                if (kFar)
                    bytes = _mm512_permutex2var_epi8(
                        bytes, order, _mm512_maskz_loadu_epi8(block->far, rows[r] + at + kWindow));
                else
                    bytes = _mm512_permutexvar_epi8(order, bytes);
                sums[r].add(bytes, low, middle, high);
            }
        }
        // Four values of each row in every lane, then sixteen of each row.
        const __m512i packed = _mm512_packus_epi16(_mm512_packs_epi32(sums[0].whole(), sums[1].whole()),
                                                   _mm512_packs_epi32(sums[2].whole(), sums[3].whole()));
        const __m512i bytes = _mm512_permutexvar_epi32(by_row, packed);
        const std::ptrdiff_t out = std::ptrdiff_t{kValues} * i;
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to[0] + out), _mm512_castsi512_si128(bytes));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to[1] + out), _mm512_extracti32x4_epi32(bytes, 1));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to[2] + out), _mm512_extracti32x4_epi32(bytes, 2));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to[3] + out), _mm512_extracti32x4_epi32(bytes, 3));
    }
}

}  // namespace

bool WideAcross::plan(const Axis& axis, int slack, Buffer& memory) {
    count_ = 0;
    if (simd_level() < Simd::avx512 || !axis.output(0).digits) return false;
    const int values = 3 * axis.outputs(), blocks = (values + kValues - 1) / kValues;
    int most = 0;
    for (int i = 0; i < axis.outputs(); i++) most = std::max(most, axis.output(i).groups);
    const auto n = static_cast<std::size_t>(blocks);
    std::uint8_t* at = memory.reserve(n * (sizeof(Block) + static_cast<std::size_t>(most) * sizeof(Step)));
    auto* steps = reinterpret_cast<Step*>(at);
    auto* all = reinterpret_cast<Block*>(at + n * static_cast<std::size_t>(most) * sizeof(Step));
    far_ = false;
    int made = 0;
    for (int b = 0; b < blocks; b++) {
        Axis::Output outputs[kValues];
        int from[kValues];
        Block& block = all[b];
        block = {3 * axis.source_count(), 0, made, {}, 0};
        for (int i = 0; i < kValues; i++) {
            const int value = std::min(kValues * b + i, values - 1);
            outputs[i] = axis.output(value / 3);
            from[i] = 3 * outputs[i].first + value % 3;
            block.at = std::min(block.at, 3 * outputs[i].first);
            block.steps = std::max(block.steps, outputs[i].groups);
        }
        int last = kWindow - 1;
        for (int i = 0; i < kValues; i++)
            for (int k = 0; k < kTaps; k++) {
                const int place = from[i] + 3 * k - block.at;
                if (place >= 2 * kWindow) return false;
                if (place >= kWindow) block.far |= std::uint64_t{1} << (place - kWindow);
                block.order[kTaps * i + k] = static_cast<std::uint8_t>(place);
                last = std::max(last, place);
            }
        far_ = far_ || block.far != 0;
        // What the last step reads may be beyond the row, as far as a row has slack.
        if (block.at + 3 * kTaps * (block.steps - 1) + last >= 3 * axis.source_count() + slack) return false;
        for (int k = 0; k < block.steps; k++, made++) {
            Step& step = steps[made];
            for (int i = 0; i < kValues; i++) {
                const Axis::Digits digits = k < outputs[i].groups ? outputs[i].digits[k] : Axis::Digits{};
                std::memcpy(step.low + kTaps * i, digits.low, kTaps);
                std::memcpy(step.middle + kTaps * i, digits.middle, kTaps);
                std::memcpy(step.high + kTaps * i, digits.high, kTaps);
            }
        }
    }
    blocks_ = all;
    steps_ = steps;
    count_ = blocks;
    return true;
}

void WideAcross::run(const std::uint8_t* const rows[kRowsAcross], std::uint8_t* const to[kRowsAcross]) const {
    (far_ ? across<true> : across<false>)(blocks_, count_, steps_, rows, to);
}

#else

bool WideAcross::plan(const Axis&, int, Buffer&) {
    return false;
}

void WideAcross::run(const std::uint8_t* const*, std::uint8_t* const*) const {}

#endif

}  // namespace gs
