// Unfiltering with SSSE3 and AVX2.
//
// Paeth and Average make every pixel wait for the one to its left: a row alone is a chain of some ten cycles
// per pixel while most of the machine idles. But a pixel also needs nothing of its row below the row above
// but three pixels. So several rows go together as a slanted front: row i works two pixels behind row i - 1.
//
//     row 0   . . . . . . . x          x: the pixels of one step, a vector of one 32-bit lane per row
//     row 1   . . . . . x
//     row 2   . . . x                  left        = the previous step's vector
//     row 3   . x                      above       = the vector before that, moved on by one lane
//                                      above left  = the previous step's "above"
//
// A lag of one would do; two keeps the move between lanes out of the chain. Every four steps, 4 pixels per
// row are loaded and 4 x rows lanes transposed, and the same on the way out.
//
// Rows of other filters may be among them: None, Sub and Up are Paeth with some neighbours set to zero.
#if defined(__x86_64__)

#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "png/png_unfilter_kernels.hpp"

#define GS_INLINE static inline __attribute__((always_inline))

namespace gs::png {
namespace {

constexpr int kLag = 2;

GS_INLINE __m128i load_128(const std::uint8_t* p) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}

GS_INLINE void store_128(std::uint8_t* p, __m128i v) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), v);
}

// Where the rows of a wave are. Lanes without a row of their own repeat the last one and write to
// a spare row.
template <int kRows>
struct Lanes {
    const std::uint8_t* from[kRows];
    std::uint8_t* to[kRows];
    std::uint32_t filter[kRows];
    bool mixed = false;  // not all rows are Paeth

    Lanes(const Layout& layout, const std::uint8_t* rows, std::size_t stride, int count, std::uint8_t* out,
          std::size_t out_stride) {
        for (int i = 0; i < kRows; i++) {
            const std::uint8_t* row = rows + static_cast<std::size_t>(std::min(i, count - 1)) * stride;
            from[i] = row + 1 - i * kLag * layout.pixel;
            to[i] = out + static_cast<std::size_t>(std::min(i, count)) * out_stride - i * kLag * layout.out;
            filter[i] = i < count ? row[0] : std::uint32_t{kPaeth};
            mixed |= filter[i] != kPaeth;
        }
    }
};

}  // namespace

// The bodies are the same for both widths; only the words of the vector differ. GCC compiles a function
// template for one target only, hence the inclusion.
#define GS_TARGET __attribute__((target("ssse3")))
namespace ssse3 {
constexpr int kRows = kRowsSsse3;
using V = __m128i;
GS_TARGET GS_INLINE V zero() {
    return _mm_setzero_si128();
}
GS_TARGET GS_INLINE V load(const void* p) {
    return _mm_load_si128(static_cast<const V*>(p));
}
GS_TARGET GS_INLINE V add(V a, V b) {
    return _mm_add_epi8(a, b);
}
GS_TARGET GS_INLINE V sub(V a, V b) {
    return _mm_sub_epi8(a, b);
}
GS_TARGET GS_INLINE V sub_saturated(V a, V b) {
    return _mm_subs_epu8(a, b);
}
GS_TARGET GS_INLINE V min(V a, V b) {
    return _mm_min_epu8(a, b);
}
GS_TARGET GS_INLINE V max(V a, V b) {
    return _mm_max_epu8(a, b);
}
GS_TARGET GS_INLINE V equal(V a, V b) {
    return _mm_cmpeq_epi8(a, b);
}
GS_TARGET GS_INLINE V both(V a, V b) {
    return _mm_and_si128(a, b);
}
GS_TARGET GS_INLINE V differ(V a, V b) {
    return _mm_xor_si128(a, b);
}
GS_TARGET GS_INLINE V average_up(V a, V b) {
    return _mm_avg_epu8(a, b);
}
GS_TARGET GS_INLINE V ones() {
    return _mm_set1_epi8(1);
}
GS_TARGET GS_INLINE V lane_equal(V a, int b) {
    return _mm_cmpeq_epi32(a, _mm_set1_epi32(b));
}
GS_TARGET GS_INLINE V lane_greater(V a, int b) {
    return _mm_cmpgt_epi32(a, _mm_set1_epi32(b));
}
GS_TARGET GS_INLINE V shuffle(V a, V by) {
    return _mm_shuffle_epi8(a, by);
}
GS_TARGET GS_INLINE V everywhere(__m128i a) {
    return a;
}
GS_TARGET GS_INLINE V unpack_low_32(V a, V b) {
    return _mm_unpacklo_epi32(a, b);
}
GS_TARGET GS_INLINE V unpack_high_32(V a, V b) {
    return _mm_unpackhi_epi32(a, b);
}
GS_TARGET GS_INLINE V unpack_low_64(V a, V b) {
    return _mm_unpacklo_epi64(a, b);
}
GS_TARGET GS_INLINE V unpack_high_64(V a, V b) {
    return _mm_unpackhi_epi64(a, b);
}
// Lane i + 1 is lane i of `v`; lane 0 is any lane of `first`, which has the same in all.
GS_TARGET GS_INLINE V move_on(V v, __m128i first) {
    return _mm_alignr_epi8(v, first, 12);
}
// 16 bytes for each of row i and, in a wider vector, row i + 4.
GS_TARGET GS_INLINE V load_rows(const std::uint8_t* const* from, std::ptrdiff_t at, int i) {
    return load_128(from[i] + at);
}
GS_TARGET GS_INLINE void store_rows(std::uint8_t* const* to, std::ptrdiff_t at, int i, V v) {
    store_128(to[i] + at, v);
}
#include "png/png_unfilter_wave.hpp"
}  // namespace ssse3
#undef GS_TARGET

#define GS_TARGET __attribute__((target("avx2")))
namespace avx2 {
constexpr int kRows = kRowsAvx2;
using V = __m256i;
GS_TARGET GS_INLINE V zero() {
    return _mm256_setzero_si256();
}
GS_TARGET GS_INLINE V load(const void* p) {
    return _mm256_load_si256(static_cast<const V*>(p));
}
GS_TARGET GS_INLINE V add(V a, V b) {
    return _mm256_add_epi8(a, b);
}
GS_TARGET GS_INLINE V sub(V a, V b) {
    return _mm256_sub_epi8(a, b);
}
GS_TARGET GS_INLINE V sub_saturated(V a, V b) {
    return _mm256_subs_epu8(a, b);
}
GS_TARGET GS_INLINE V min(V a, V b) {
    return _mm256_min_epu8(a, b);
}
GS_TARGET GS_INLINE V max(V a, V b) {
    return _mm256_max_epu8(a, b);
}
GS_TARGET GS_INLINE V equal(V a, V b) {
    return _mm256_cmpeq_epi8(a, b);
}
GS_TARGET GS_INLINE V both(V a, V b) {
    return _mm256_and_si256(a, b);
}
GS_TARGET GS_INLINE V differ(V a, V b) {
    return _mm256_xor_si256(a, b);
}
GS_TARGET GS_INLINE V average_up(V a, V b) {
    return _mm256_avg_epu8(a, b);
}
GS_TARGET GS_INLINE V ones() {
    return _mm256_set1_epi8(1);
}
GS_TARGET GS_INLINE V lane_equal(V a, int b) {
    return _mm256_cmpeq_epi32(a, _mm256_set1_epi32(b));
}
GS_TARGET GS_INLINE V lane_greater(V a, int b) {
    return _mm256_cmpgt_epi32(a, _mm256_set1_epi32(b));
}
GS_TARGET GS_INLINE V shuffle(V a, V by) {
    return _mm256_shuffle_epi8(a, by);
}
GS_TARGET GS_INLINE V everywhere(__m128i a) {
    return _mm256_broadcastsi128_si256(a);
}
GS_TARGET GS_INLINE V unpack_low_32(V a, V b) {
    return _mm256_unpacklo_epi32(a, b);
}
GS_TARGET GS_INLINE V unpack_high_32(V a, V b) {
    return _mm256_unpackhi_epi32(a, b);
}
GS_TARGET GS_INLINE V unpack_low_64(V a, V b) {
    return _mm256_unpacklo_epi64(a, b);
}
GS_TARGET GS_INLINE V unpack_high_64(V a, V b) {
    return _mm256_unpackhi_epi64(a, b);
}
GS_TARGET GS_INLINE V move_on(V v, __m128i first) {
    const V moved = _mm256_permutevar8x32_epi32(v, _mm256_setr_epi32(0, 0, 1, 2, 3, 4, 5, 6));
    return _mm256_blend_epi32(moved, _mm256_castsi128_si256(first), 1);
}
GS_TARGET GS_INLINE V load_rows(const std::uint8_t* const* from, std::ptrdiff_t at, int i) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(load_128(from[i] + at)), load_128(from[i + 4] + at),
                                   1);
}
GS_TARGET GS_INLINE void store_rows(std::uint8_t* const* to, std::ptrdiff_t at, int i, V v) {
    store_128(to[i] + at, _mm256_castsi256_si128(v));
    store_128(to[i + 4] + at, _mm256_extracti128_si256(v, 1));
}
#include "png/png_unfilter_wave.hpp"
}  // namespace avx2
#undef GS_TARGET

void unfilter_wave_ssse3(const Layout& layout, const std::uint8_t* rows, std::size_t stride, int count,
                         int pixels, std::uint8_t* out, std::size_t out_stride) {
    ssse3::run(layout, rows, stride, count, pixels, out, out_stride);
}

void unfilter_wave_avx2(const Layout& layout, const std::uint8_t* rows, std::size_t stride, int count,
                        int pixels, std::uint8_t* out, std::size_t out_stride) {
    avx2::run(layout, rows, stride, count, pixels, out, out_stride);
}

__attribute__((target("ssse3"))) void unfilter_row_ssse3(const Layout& layout, int filter,
                                                         const std::uint8_t* row, int pixels,
                                                         const std::uint8_t* above, std::uint8_t* out) {
    const std::ptrdiff_t bytes = std::ptrdiff_t{layout.out} * pixels;
    if (layout.pixel == layout.out && filter == kNone) {
        std::memcpy(out, row, static_cast<std::size_t>(bytes));
        return;
    }
    if (layout.pixel == layout.out && filter == kUp) {
        for (std::ptrdiff_t i = 0; i < bytes; i += 16)
            store_128(out + i, _mm_add_epi8(load_128(row + i), load_128(above + i)));
        return;
    }
    const Layout::Shuffles& shuffles = layout.shuffles;
    const __m128i in = load_128(shuffles.in), in_2 = load_128(shuffles.in_2);
    const __m128i pack = load_128(shuffles.out), spread = load_128(shuffles.above);
    const bool two_loads = layout.pixel > 4;
    __m128i sum = _mm_setzero_si128();  // Sub: the pixel to the left, in all lanes
    for (int x = 0; x < pixels; x += 4) {
        __m128i v = _mm_shuffle_epi8(load_128(row), in);
        if (two_loads) v = _mm_or_si128(v, _mm_shuffle_epi8(load_128(row + 2 * layout.pixel), in_2));
        if (filter == kSub) {
            v = _mm_add_epi8(v, _mm_slli_si128(v, 4));
            v = _mm_add_epi8(v, _mm_slli_si128(v, 8));
            v = _mm_add_epi8(v, sum);
            sum = _mm_shuffle_epi32(v, 0xff);
        } else if (filter == kUp) {
            v = _mm_add_epi8(v, _mm_shuffle_epi8(load_128(above), spread));
        }
        store_128(out, _mm_shuffle_epi8(v, pack));
        row += 4 * layout.pixel;
        above += 4 * layout.out;
        out += 4 * layout.out;
    }
}

}  // namespace gs::png

#endif
