// Unfiltering with NEON.
#if defined(__aarch64__)

#include <arm_neon.h>

#include <cstring>

#include "png/png_unfilter_lanes.hpp"

#define GS_TARGET

namespace gs::png {
namespace neon {

constexpr int kRows = kRows128;
using V = uint8x16_t;
using Q = uint8x16_t;

GS_INLINE Q load_128(const std::uint8_t* p) {
    return vld1q_u8(p);
}
GS_INLINE void store_128(std::uint8_t* p, Q v) {
    vst1q_u8(p, v);
}
template <int kLane>
GS_INLINE Q lane_everywhere(Q v) {
    return vreinterpretq_u8_u32(vdupq_laneq_u32(vreinterpretq_u32_u8(v), kLane));
}
GS_INLINE Q shuffle_128(Q v, Q by) {
    return vqtbl1q_u8(v, by);
}
GS_INLINE V zero() {
    return vdupq_n_u8(0);
}
GS_INLINE V load(const void* p) {
    return vld1q_u8(static_cast<const std::uint8_t*>(p));
}
GS_INLINE V add(V a, V b) {
    return vaddq_u8(a, b);
}
GS_INLINE V sub(V a, V b) {
    return vsubq_u8(a, b);
}
GS_INLINE V sub_saturated(V a, V b) {
    return vqsubq_u8(a, b);
}
GS_INLINE V min(V a, V b) {
    return vminq_u8(a, b);
}
GS_INLINE V max(V a, V b) {
    return vmaxq_u8(a, b);
}
GS_INLINE V equal(V a, V b) {
    return vceqq_u8(a, b);
}
GS_INLINE V both(V a, V b) {
    return vandq_u8(a, b);
}
GS_INLINE V differ(V a, V b) {
    return veorq_u8(a, b);
}
// Rounded down.
GS_INLINE V average(V a, V b) {
    return vhaddq_u8(a, b);
}
GS_INLINE V lane_equal(V a, int b) {
    return vreinterpretq_u8_u32(vceqq_s32(vreinterpretq_s32_u8(a), vdupq_n_s32(b)));
}
GS_INLINE V lane_greater(V a, int b) {
    return vreinterpretq_u8_u32(vcgtq_s32(vreinterpretq_s32_u8(a), vdupq_n_s32(b)));
}
GS_INLINE V shuffle(V a, V by) {
    return vqtbl1q_u8(a, by);
}
GS_INLINE V everywhere(Q a) {
    return a;
}
GS_INLINE V unpack_low_32(V a, V b) {
    return vreinterpretq_u8_u32(vzip1q_u32(vreinterpretq_u32_u8(a), vreinterpretq_u32_u8(b)));
}
GS_INLINE V unpack_high_32(V a, V b) {
    return vreinterpretq_u8_u32(vzip2q_u32(vreinterpretq_u32_u8(a), vreinterpretq_u32_u8(b)));
}
GS_INLINE V unpack_low_64(V a, V b) {
    return vreinterpretq_u8_u64(vzip1q_u64(vreinterpretq_u64_u8(a), vreinterpretq_u64_u8(b)));
}
GS_INLINE V unpack_high_64(V a, V b) {
    return vreinterpretq_u8_u64(vzip2q_u64(vreinterpretq_u64_u8(a), vreinterpretq_u64_u8(b)));
}
// Lane i + 1 is lane i of `v`; lane 0 is any lane of `first`, which has the same in all.
GS_INLINE V move_on(V v, Q first) {
    return vextq_u8(first, v, 12);
}
GS_INLINE V load_rows(const std::uint8_t* const* from, std::ptrdiff_t at, int i) {
    return load_128(from[i] + at);
}
GS_INLINE void store_rows(std::uint8_t* const* to, std::ptrdiff_t at, int i, V v) {
    store_128(to[i] + at, v);
}
// Lane i + kLanes is lane i of `v`, the lowest are zero.
template <int kLanes>
GS_INLINE V up_lanes(V v) {
    return vextq_u8(zero(), v, 16 - 4 * kLanes);
}

#include "png/png_unfilter_row.hpp"
#include "png/png_unfilter_wave.hpp"

}  // namespace neon

void unfilter_wave_128(const Layout& layout, const std::uint8_t* rows, std::size_t stride, int count,
                       int pixels, std::uint8_t* out, std::size_t out_stride) {
    neon::run(layout, rows, stride, count, pixels, out, out_stride);
}

void unfilter_row_128(const Layout& layout, int filter, const std::uint8_t* row, int pixels,
                      const std::uint8_t* above, std::uint8_t* out) {
    neon::row_128(layout, filter, row, pixels, above, out);
}

}  // namespace gs::png

#endif
