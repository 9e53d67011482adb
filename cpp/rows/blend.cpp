#include "rows/blend.hpp"

#include <algorithm>
#include <cstddef>

#include "base/cpu.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace gs {
namespace {

std::uint8_t luma_of(const Luma& luma, const std::uint8_t* rgb) {
    const int* w = luma.weights;
    return static_cast<std::uint8_t>(
        (w[0] * rgb[0] + w[1] * rgb[1] + w[2] * rgb[2] + (1 << (luma.shift - 1))) >> luma.shift);
}

// Clipped only where it extrapolates, because between the two nothing can go beyond: there the clipping changes nothing.
std::uint8_t blend(int from, int to, float factor) {
    float value = static_cast<float>(from) + factor * static_cast<float>(to - from);
    value = value < 0.0f ? 0.0f : value;
    value = value > 255.0f ? 255.0f : value;
    return static_cast<std::uint8_t>(static_cast<int>(value));
}

// The vector loops return how many values or pixels they have done; the rest is left to the plain ones.
#if defined(__x86_64__)
#define GS_VECTOR __attribute__((target("avx2")))

constexpr int kPixels = 8;  // at a time: four in each half of a vector, which loads 16 bytes for 12
constexpr int kReach = 10;  // pixels that have to be there for that

// Bytes 0 .. 15 and 12 .. 27.
GS_VECTOR inline __m256i load(const std::uint8_t* rgb) {
    const __m128i low = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rgb));
    const __m128i high = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rgb + 12));
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

// The first 12 bytes of each half. Writes four bytes too many.
GS_VECTOR inline void store(__m256i bytes, std::uint8_t* to) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_castsi256_si128(bytes));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 12), _mm256_extracti128_si256(bytes, 1));
}

// Grays by products of 16 bits. Green's weight may need one bit more, so it is given in two halves.
class VectorLuma {
  public:
    GS_VECTOR explicit VectorLuma(const Luma& luma)
        : red_green_(pair(luma.weights[0], luma.weights[1] / 2)),
          green_blue_(pair(luma.weights[1] - luma.weights[1] / 2, luma.weights[2])),
          half_(_mm256_set1_epi32(1 << (luma.shift - 1))),
          shift_(_mm_cvtsi32_si128(luma.shift)) {}

    // Of the pixels that load() gave, as 32-bit numbers.
    GS_VECTOR __m256i of(__m256i bytes) const {
        const __m256i first = _mm256_broadcastsi128_si256(
            _mm_setr_epi8(0, -1, 1, -1, 3, -1, 4, -1, 6, -1, 7, -1, 9, -1, 10, -1));
        const __m256i second = _mm256_broadcastsi128_si256(
            _mm_setr_epi8(1, -1, 2, -1, 4, -1, 5, -1, 7, -1, 8, -1, 10, -1, 11, -1));
        const __m256i a = _mm256_madd_epi16(_mm256_shuffle_epi8(bytes, first), red_green_);
        const __m256i b = _mm256_madd_epi16(_mm256_shuffle_epi8(bytes, second), green_blue_);
        return _mm256_srl_epi32(_mm256_add_epi32(_mm256_add_epi32(a, half_), b), shift_);
    }

  private:
    GS_VECTOR static __m256i pair(int low, int high) { return _mm256_set1_epi32(low | high << 16); }

    const __m256i red_green_, green_blue_, half_;
    const __m128i shift_;
};

GS_VECTOR int gray_avx2(const Luma& luma, const std::uint8_t* rgb, std::uint8_t* to, int pixels) {
    const VectorLuma grays(luma);
    const __m256i three =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 0, 0, 4, 4, 4, 8, 8, 8, 12, 12, 12, -1, -1, -1, -1));
    int x = 0;
    for (; x + kReach <= pixels; x += kPixels)
        store(_mm256_shuffle_epi8(grays.of(load(rgb + 3 * x)), three), to + 3 * x);
    return x;
}

GS_VECTOR std::int64_t luma_sum_avx2(const std::uint8_t* rgb, int pixels, int& done) {
    constexpr int kMost = 1 << 20;  // pixels whose sums stay far below 2^32
    const VectorLuma grays(kPillowLuma);
    std::int64_t total = 0;
    int x = 0;
    while (x + kReach <= pixels) {
        __m256i sum = _mm256_setzero_si256();
        for (const int end = std::min(pixels - kReach, x + kMost); x <= end; x += kPixels)
            sum = _mm256_add_epi32(sum, grays.of(load(rgb + std::ptrdiff_t{3} * x)));
        std::uint32_t parts[8];
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(parts), sum);
        for (const std::uint32_t part : parts) total += part;
    }
    done = x;
    return total;
}

// Truncated; what is below 0 packing clips.
GS_VECTOR inline __m256i blend8(__m256 from, __m256 to, __m256 factor) {
    const __m256 value = _mm256_add_ps(from, _mm256_mul_ps(factor, _mm256_sub_ps(to, from)));
    return _mm256_cvttps_epi32(_mm256_min_ps(value, _mm256_set1_ps(255.0f)));
}

GS_VECTOR int blend_with_level_avx2(const std::uint8_t* rgb, std::uint8_t* to, int values, int level,
                                    float factor) {
    const __m256 from = _mm256_set1_ps(static_cast<float>(level)), by = _mm256_set1_ps(factor);
    const auto eight = [&](const std::uint8_t* at) GS_VECTOR {
        const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(at));
        return blend8(from, _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)), by);
    };
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    int i = 0;
    for (; i + 32 <= values; i += 32) {
        const __m256i low = _mm256_packs_epi32(eight(rgb + i), eight(rgb + i + 8));
        const __m256i high = _mm256_packs_epi32(eight(rgb + i + 16), eight(rgb + i + 24));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i),
                            _mm256_permutevar8x32_epi32(_mm256_packus_epi16(low, high), order));
    }
    return i;
}

// A shuffle's order: values i .. i + 3 of each half as 32-bit numbers.
GS_VECTOR inline __m256i values_from(int i) {
    const __m128i first = _mm_setr_epi32(0, 1, 2, 3);
    const __m128i order = _mm_or_si128(_mm_add_epi32(first, _mm_set1_epi32(i)), _mm_set1_epi32(~0xFF));
    return _mm256_broadcastsi128_si256(order);
}

GS_VECTOR int blend_with_luma_avx2(const std::uint8_t* rgb, std::uint8_t* to, int pixels, float factor) {
    const VectorLuma grays(kPillowLuma);
    const __m256 by = _mm256_set1_ps(factor);
    const __m256i first = values_from(0), second = values_from(4), third = values_from(8);
    int x = 0;
    for (; x + kReach <= pixels; x += kPixels) {
        const __m256i bytes = load(rgb + 3 * x);
        const __m256 gray = _mm256_cvtepi32_ps(grays.of(bytes));
        // Values 0 .. 3, 4 .. 7 and 8 .. 11 of each half, and the gray of each.
        const auto values = [&](__m256i order)
                                GS_VECTOR { return _mm256_cvtepi32_ps(_mm256_shuffle_epi8(bytes, order)); };
        const __m256i a = blend8(_mm256_permute_ps(gray, _MM_SHUFFLE(1, 0, 0, 0)), values(first), by);
        const __m256i b = blend8(_mm256_permute_ps(gray, _MM_SHUFFLE(2, 2, 1, 1)), values(second), by);
        const __m256i c = blend8(_mm256_permute_ps(gray, _MM_SHUFFLE(3, 3, 3, 2)), values(third), by);
        store(_mm256_packus_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, c)), to + 3 * x);
    }
    return x;
}

#endif

bool has_vectors() {
    return simd_level() >= Simd::avx2;
}

}  // namespace

void gray_row(const Luma& luma, const std::uint8_t* rgb, std::uint8_t* to, int pixels) {
    int x = 0;
#if defined(__x86_64__)
    if (has_vectors()) x = gray_avx2(luma, rgb, to, pixels);
#endif
    for (; x < pixels; x++) to[3 * x] = to[3 * x + 1] = to[3 * x + 2] = luma_of(luma, rgb + 3 * x);
}

std::int64_t luma_sum(const std::uint8_t* rgb, int pixels) {
    std::int64_t sum = 0;
    int x = 0;
#if defined(__x86_64__)
    if (has_vectors()) sum = luma_sum_avx2(rgb, pixels, x);
#endif
    for (; x < pixels; x++) sum += luma_of(kPillowLuma, rgb + std::ptrdiff_t{3} * x);
    return sum;
}

void blend_with_level(const std::uint8_t* rgb, std::uint8_t* to, int values, int level, float factor) {
    int i = 0;
#if defined(__x86_64__)
    if (has_vectors()) i = blend_with_level_avx2(rgb, to, values, level, factor);
#endif
    for (; i < values; i++) to[i] = blend(level, rgb[i], factor);
}

void blend_with_luma(const std::uint8_t* rgb, std::uint8_t* to, int pixels, float factor) {
    int x = 0;
#if defined(__x86_64__)
    if (has_vectors()) x = blend_with_luma_avx2(rgb, to, pixels, factor);
#endif
    for (; x < pixels; x++)
        for (int c = 0; c < 3; c++)
            to[3 * x + c] = blend(luma_of(kPillowLuma, rgb + 3 * x), rgb[3 * x + c], factor);
}

}  // namespace gs
