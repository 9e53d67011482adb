// Unfiltering with SSSE3 and AVX2.
#if defined(__x86_64__)

#include <immintrin.h>

#include <cstring>

#include "png/png_unfilter_lanes.hpp"

namespace gs::png {
namespace {

using Q = __m128i;

GS_INLINE __m128i load_128(const std::uint8_t* p) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}

GS_INLINE void store_128(std::uint8_t* p, __m128i v) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), v);
}

template <int kLane>
GS_INLINE __m128i lane_everywhere(__m128i v) {
    return _mm_shuffle_epi32(v, kLane * 0x55);
}

__attribute__((target("ssse3"))) GS_INLINE __m128i shuffle_128(__m128i v, __m128i by) {
    return _mm_shuffle_epi8(v, by);
}

}  // namespace

// The bodies are the same for both widths; only the words of the vector differ. GCC compiles a function
// template for one target only, hence the inclusion.
#define GS_TARGET __attribute__((target("ssse3")))
namespace ssse3 {
constexpr int kRows = kRows128;
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
// Rounded down.
GS_TARGET GS_INLINE V average(V a, V b) {
    return sub(_mm_avg_epu8(a, b), both(differ(a, b), _mm_set1_epi8(1)));
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
// Lane i + kLanes is lane i of `v`, the lowest are zero.
template <int kLanes>
GS_TARGET GS_INLINE V up_lanes(V v) {
    return _mm_slli_si128(v, 4 * kLanes);
}
#include "png/png_unfilter_row.hpp"
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
// Rounded down.
GS_TARGET GS_INLINE V average(V a, V b) {
    return sub(_mm256_avg_epu8(a, b), both(differ(a, b), _mm256_set1_epi8(1)));
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

void unfilter_wave_128(const Layout& layout, const std::uint8_t* rows, std::size_t stride, int count,
                       int pixels, std::uint8_t* out, std::size_t out_stride) {
    ssse3::run(layout, rows, stride, count, pixels, out, out_stride);
}

void unfilter_wave_avx2(const Layout& layout, const std::uint8_t* rows, std::size_t stride, int count,
                        int pixels, std::uint8_t* out, std::size_t out_stride) {
    avx2::run(layout, rows, stride, count, pixels, out, out_stride);
}

void unfilter_row_128(const Layout& layout, int filter, const std::uint8_t* row, int pixels,
                      const std::uint8_t* above, std::uint8_t* out) {
    ssse3::row_128(layout, filter, row, pixels, above, out);
}

}  // namespace gs::png

#endif
