// Interleaved RGB to planes by shuffles. In 48 bytes (16 pixels, three vectors a, b, c) the bytes of one
// channel lie at positions of a, b and c that never coincide, so that each channel takes two blends and one
// shuffle. A row that is no multiple of 16 ends with a block that overlaps the one before; it writes the same
// values again. Narrower rows go the plain way.
#include "image/output_simd.hpp"

#if defined(__x86_64__)

#include <immintrin.h>

namespace gs {
namespace {

constexpr int kBlock = 16;

struct alignas(16) Masks {
    std::uint8_t from_b[3][16];    // 0xFF where channel c comes from the second vector
    std::uint8_t from_c[3][16];    // ... from the third
    std::uint8_t order[2][3][16];  // the shuffle that puts them in order; [1]: in reverse
};

constexpr Masks make_masks() {
    Masks m{};
    for (int c = 0; c < 3; c++)
        for (int pixel = 0; pixel < 16; pixel++) {
            const int byte = 3 * pixel + c;
            if (byte / 16 == 1) m.from_b[c][byte % 16] = 0xFF;
            if (byte / 16 == 2) m.from_c[c][byte % 16] = 0xFF;
            m.order[0][c][pixel] = static_cast<std::uint8_t>(byte % 16);
            m.order[1][c][15 - pixel] = static_cast<std::uint8_t>(byte % 16);
        }
    return m;
}

constexpr Masks kMasks = make_masks();

template <bool kFlip>
__attribute__((target("ssse3"))) inline __m128i channel(__m128i a, __m128i b, __m128i c, int of) {
    const __m128i mb = _mm_load_si128(reinterpret_cast<const __m128i*>(kMasks.from_b[of]));
    const __m128i mc = _mm_load_si128(reinterpret_cast<const __m128i*>(kMasks.from_c[of]));
    const __m128i order = _mm_load_si128(reinterpret_cast<const __m128i*>(kMasks.order[kFlip][of]));
    const __m128i ab = _mm_or_si128(_mm_and_si128(mb, b), _mm_andnot_si128(_mm_or_si128(mb, mc), a));
    return _mm_shuffle_epi8(_mm_or_si128(ab, _mm_and_si128(mc, c)), order);
}

template <bool kFlip>
__attribute__((target("ssse3"))) inline void split(const std::uint8_t* rgb, __m128i out[3]) {
    const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rgb));
    const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rgb + 16));
    const __m128i c = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rgb + 32));
    for (int i = 0; i < 3; i++) out[i] = channel<kFlip>(a, b, c, i);
}

template <bool kFlip>
__attribute__((target("ssse3"))) void store_u8(const std::uint8_t* rgb, int width, const Normalizer&,
                                               std::uint8_t* const planes[3]) {
    for (int x = 0;; x += kBlock) {
        if (x > width - kBlock) x = width - kBlock;
        __m128i out[3];
        split<kFlip>(rgb + 3 * x, out);
        const int to = kFlip ? width - kBlock - x : x;
        for (int c = 0; c < 3; c++) _mm_storeu_si128(reinterpret_cast<__m128i*>(planes[c] + to), out[c]);
        if (x == width - kBlock) return;
    }
}

// Eight pixels (the low half of `bytes`) by the double-precision rule.
__attribute__((target("avx2,fma,f16c"))) inline __m256 normalize8(__m128i bytes, __m256d scale,
                                                                  __m256d bias) {
    const __m256i wide = _mm256_cvtepu8_epi32(bytes);
    const __m256d low = _mm256_fmadd_pd(_mm256_cvtepi32_pd(_mm256_castsi256_si128(wide)), scale, bias);
    const __m256d high = _mm256_fmadd_pd(_mm256_cvtepi32_pd(_mm256_extracti128_si256(wide, 1)), scale, bias);
    return _mm256_set_m128(_mm256_cvtpd_ps(high), _mm256_cvtpd_ps(low));
}

template <bool kFlip, bool kHalf>
__attribute__((target("avx2,fma,f16c"))) void store_float(const std::uint8_t* rgb, int width,
                                                          const Normalizer& n,
                                                          std::uint8_t* const planes[3]) {
    for (int x = 0;; x += kBlock) {
        if (x > width - kBlock) x = width - kBlock;
        __m128i out[3];
        split<kFlip>(rgb + 3 * x, out);
        const int to = kFlip ? width - kBlock - x : x;
        for (int c = 0; c < 3; c++) {
            const __m256d scale = _mm256_set1_pd(n.scale[c]), bias = _mm256_set1_pd(n.bias[c]);
            const __m256 first = normalize8(out[c], scale, bias);
            const __m256 second = normalize8(_mm_srli_si128(out[c], 8), scale, bias);
            if (kHalf) {
                auto* plane = reinterpret_cast<__m128i*>(planes[c] + 2 * to);
                _mm_storeu_si128(plane, _mm256_cvtps_ph(first, _MM_FROUND_TO_NEAREST_INT));
                _mm_storeu_si128(plane + 1, _mm256_cvtps_ph(second, _MM_FROUND_TO_NEAREST_INT));
            } else {
                auto* plane = reinterpret_cast<float*>(planes[c]) + to;
                _mm256_storeu_ps(plane, first);
                _mm256_storeu_ps(plane + 8, second);
            }
        }
        if (x == width - kBlock) return;
    }
}

}  // namespace

StoreRow choose_simd_store(Element element, bool flip, int width, Simd level, bool affine) {
    if (width < kBlock) return nullptr;
    if (element == Element::u8 && level >= Simd::ssse3) return flip ? store_u8<true> : store_u8<false>;
    if (element == Element::u8 || level < Simd::avx2 || !affine) return nullptr;
    if (element == Element::f16) return flip ? store_float<true, true> : store_float<false, true>;
    return flip ? store_float<true, false> : store_float<false, false>;
}

}  // namespace gs

#elif !defined(__aarch64__)

namespace gs {

StoreRow choose_simd_store(Element, bool, int, Simd, bool) {
    return nullptr;
}

}  // namespace gs

#endif
