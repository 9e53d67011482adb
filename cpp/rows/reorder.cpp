#include "rows/reorder.hpp"

#include <cstring>

#include "base/cpu.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace gs {
namespace {

// Five pixels are 15 of the 16 bytes of a vector. Nothing is read or written beyond the rows: the sixteenth byte belongs
// to a sixth pixel, and the last pixels are left to the plain loops. Both return how many pixels of `to` are done.
constexpr int kPixels = 5;

#if defined(__x86_64__)

__attribute__((target("ssse3"))) int reverse_ssse3(const std::uint8_t* from, int width, std::uint8_t* to) {
    // A vector starts one byte before its five pixels; the byte at the end is overwritten by the next.
    const __m128i order = _mm_setr_epi8(13, 14, 15, 10, 11, 12, 7, 8, 9, 4, 5, 6, 1, 2, 3, 0);
    int x = 0;
    for (; x + kPixels < width; x += kPixels) {
        const auto* pixels = reinterpret_cast<const __m128i*>(from + 3 * (width - kPixels - x) - 1);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 3 * x),
                         _mm_shuffle_epi8(_mm_loadu_si128(pixels), order));
    }
    return x;
}

// Each vector is loaded before the one in front of it is stored, which overlaps it by a byte where `to` is `from`: a load
// that waits for part of a store takes many times as long.
__attribute__((target("ssse3"))) int swap_ssse3(const std::uint8_t* from, int width, std::uint8_t* to) {
    const __m128i order = _mm_setr_epi8(2, 1, 0, 5, 4, 3, 8, 7, 6, 11, 10, 9, 14, 13, 12, 15);
    const auto load = [&](int x) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 3 * x)); };
    int x = 0;
    if (width <= kPixels) return x;
    __m128i next = load(x);
    for (; x + kPixels < width; x += kPixels) {
        const __m128i pixels = next;
        if (x + 2 * kPixels < width) next = load(x + kPixels);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 3 * x), _mm_shuffle_epi8(pixels, order));
    }
    return x;
}

#endif

}  // namespace

void reverse_row(const std::uint8_t* from, int width, std::uint8_t* to) {
    int x = 0;
#if defined(__x86_64__)
    if (simd_level() >= Simd::ssse3) x = reverse_ssse3(from, width, to);
#endif
    for (; x < width; x++) std::memcpy(to + 3 * x, from + 3 * (width - 1 - x), 3);
}

void swap_red_and_blue(const std::uint8_t* from, int width, std::uint8_t* to) {
    int x = 0;
#if defined(__x86_64__)
    if (simd_level() >= Simd::ssse3) x = swap_ssse3(from, width, to);
#endif
    for (; x < width; x++) {
        const std::uint8_t red = from[3 * x];
        to[3 * x] = from[3 * x + 2];
        to[3 * x + 1] = from[3 * x + 1];
        to[3 * x + 2] = red;
    }
}

}  // namespace gs
