// The JPEG kernels for AArch64; the plain form says what each computes. Stores are macros in clang, and so what they store
// has a name.
#include "jpeg/jpeg_scan.hpp"

#if defined(__aarch64__)
#include "jpeg/jpeg_progressive_loops.hpp"
#include "neon/jpeg_idct_neon.hpp"

namespace gs::jpeg {
namespace {

// Whether row 0 kept below the limit in all transforms.
bool kept_below(uint16x8_t peak) {
    return vmaxvq_u16(peak) < kRow0Limit;
}

bool decode(Scan& scan, int mcus, const SamplePlane* planes) {
    uint16x8_t peak = vdupq_n_u16(0);
    const auto idct = [&](std::int16_t* pair, const std::int16_t* quant, int extent, std::uint8_t* a,
                          std::uint8_t* b, std::ptrdiff_t stride)
                          GS_LOOP_LAMBDA { idct_pair_neon(pair, quant, extent, a, b, stride, peak); };
    return decode_loop(scan, mcus, planes, idct) && kept_below(peak);
}

struct NeonBits {
    // Bit i of each byte where coefficient 8 * byte + i of 16 is other than zero.
    GS_INLINE static uint8x16_t weighed(const std::int16_t* from) {
        constexpr std::uint8_t kWeights[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
        const int16x8_t low = vld1q_s16(from), high = vld1q_s16(from + 8);
        const uint8x16_t set =
            vuzp1q_u8(vreinterpretq_u8_u16(vtstq_s16(low, low)), vreinterpretq_u8_u16(vtstq_s16(high, high)));
        return vandq_u8(set, vld1q_u8(kWeights));
    }
    GS_INLINE static std::uint64_t nonzero(const std::int16_t* block) {
        const uint8x16_t a = vpaddq_u8(weighed(block), weighed(block + 16));
        const uint8x16_t b = vpaddq_u8(weighed(block + 32), weighed(block + 48));
        const uint8x16_t c = vpaddq_u8(a, b);
        return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(c, c)), 0);
    }
    GS_INLINE static std::uint32_t nth(std::uint64_t mask, std::uint32_t n) {
        for (; n > 0; n--) mask &= mask - 1;
        return mask == 0 ? 64 : static_cast<std::uint32_t>(__builtin_ctzll(mask));
    }
};

bool scan(Scan& scan, const ProgressiveScan& progressive) {
    return progressive_loop<NeonBits>(scan, progressive);
}

bool render(Scan& scan, const CoefficientPlane* coefficients, int row, int left, int mcus,
            const SamplePlane* planes) {
    uint16x8_t peak = vdupq_n_u16(0);
    const auto idct = [&](std::int16_t* pair, const std::int16_t* quant, int extent, std::uint8_t* a,
                          std::uint8_t* b, std::ptrdiff_t stride)
                          GS_LOOP_LAMBDA { idct_pair_neon(pair, quant, extent, a, b, stride, peak); };
    render_loop<NeonBits>(scan, coefficients, row, left, mcus, planes, idct);
    return kept_below(peak);
}

bool skip(Scan& scan, std::int64_t mcus) {
    return skip_loop(scan, mcus);
}

// Three times `near` plus `far`, of eight samples.
GS_INLINE uint16x8_t weigh(uint8x8_t near, uint8x8_t far) {
    return vaddw_u8(vmull_u8(near, vdup_n_u8(3)), far);
}

void upsample_h2(const std::uint8_t* in, int count, std::uint8_t* out) {
    for (int i = 0; i < count; i += 8) {
        const uint8x8_t here = vld1_u8(in + i);
        const uint16x8_t even = weigh(here, vld1_u8(in + i - 1)), odd = weigh(here, vld1_u8(in + i + 1));
        const uint8x8x2_t both = {{vshrn_n_u16(vaddq_u16(even, vdupq_n_u16(1)), 2), vrshrn_n_u16(odd, 2)}};
        vst2_u8(out + 2 * i, both);
    }
}

void upsample_h2v2(const std::uint8_t* near, const std::uint8_t* far, int count, std::uint8_t* out) {
    for (int i = 0; i < count; i += 8) {
        const uint16x8_t before = weigh(vld1_u8(near + i - 1), vld1_u8(far + i - 1));
        const uint16x8_t here = vmulq_n_u16(weigh(vld1_u8(near + i), vld1_u8(far + i)), 3);
        const uint16x8_t after = weigh(vld1_u8(near + i + 1), vld1_u8(far + i + 1));
        const uint16x8_t odd = vaddq_u16(vaddq_u16(here, after), vdupq_n_u16(7));
        const uint8x8x2_t both = {{vrshrn_n_u16(vaddq_u16(here, before), 4), vshrn_n_u16(odd, 4)}};
        vst2_u8(out + 2 * i, both);
    }
}

void upsample_v2(const std::uint8_t* near, const std::uint8_t* far, int count, int bias, std::uint8_t* out) {
    const uint16x8_t round = vdupq_n_u16(static_cast<std::uint16_t>(bias));
    for (int i = 0; i < count; i += 8) {
        const uint16x8_t sum = vaddq_u16(weigh(vld1_u8(near + i), vld1_u8(far + i)), round);
        vst1_u8(out + i, vshrn_n_u16(sum, 2));
    }
}

// Eight pixels: r, g, b as 16-bit entries before clamping.
GS_INLINE void convert(uint8x8_t y8, uint8x8_t cb8, uint8x8_t cr8, int16x8_t& r, int16x8_t& g, int16x8_t& b) {
    const int16x8_t y = vreinterpretq_s16_u16(vmovl_u8(y8));
    const int16x8_t cb = vreinterpretq_s16_u16(vsubl_u8(cb8, vdup_n_u8(128)));
    const int16x8_t cr = vreinterpretq_s16_u16(vsubl_u8(cr8, vdup_n_u8(128)));
    // 1.402 = 1 + 26345 / 2^16 and 1.772 = 2 - 14942 / 2^16; the high half of twice the product, rounded when
    // halved, is the product rounded as libjpeg rounds it.
    r = vaddq_s16(vaddq_s16(y, cr), vrshrq_n_s16(vqdmulhq_n_s16(cr, 26345), 1));
    b = vaddq_s16(vaddq_s16(y, vaddq_s16(cb, cb)), vrshrq_n_s16(vqdmulhq_n_s16(cb, -14942), 1));
    // -0.71414 = -1 + 18734 / 2^16.
    const int32x4_t low = vmlal_n_s16(vmull_n_s16(vget_low_s16(cb), -22554), vget_low_s16(cr), 18734);
    const int32x4_t high = vmlal_high_n_s16(vmull_high_n_s16(cb, -22554), cr, 18734);
    g = vaddq_s16(vsubq_s16(y, cr), vrshrn_high_n_s32(vrshrn_n_s32(low, 16), high, 16));
}

void ycc_to_rgb(const std::uint8_t* y, const std::uint8_t* cb, const std::uint8_t* cr, int count,
                std::uint8_t* rgb) {
    for (int i = 0; i < count; i += 16, rgb += 48) {
        const uint8x16_t y8 = vld1q_u8(y + i), cb8 = vld1q_u8(cb + i), cr8 = vld1q_u8(cr + i);
        int16x8_t r[2], g[2], b[2];
        convert(vget_low_u8(y8), vget_low_u8(cb8), vget_low_u8(cr8), r[0], g[0], b[0]);
        convert(vget_high_u8(y8), vget_high_u8(cb8), vget_high_u8(cr8), r[1], g[1], b[1]);
        const uint8x16x3_t pixels = {{vqmovun_high_s16(vqmovun_s16(r[0]), r[1]),
                                      vqmovun_high_s16(vqmovun_s16(g[0]), g[1]),
                                      vqmovun_high_s16(vqmovun_s16(b[0]), b[1])}};
        vst3q_u8(rgb, pixels);
    }
}

void gray_to_rgb(const std::uint8_t* y, int count, std::uint8_t* rgb) {
    for (int i = 0; i < count; i += 16, rgb += 48) {
        const uint8x16_t v = vld1q_u8(y + i);
        const uint8x16x3_t pixels = {{v, v, v}};
        vst3q_u8(rgb, pixels);
    }
}

const Kernels kNeonKernels = {"neon",      decode,        skip,        scan,       render,
                              upsample_h2, upsample_h2v2, upsample_v2, ycc_to_rgb, gray_to_rgb};

}  // namespace

const Kernels* neon_kernels() {
    return &kNeonKernels;
}

}  // namespace gs::jpeg

#else

namespace gs::jpeg {

const Kernels* neon_kernels() {
    return nullptr;
}

}  // namespace gs::jpeg

#endif
