// The JPEG kernels for x86-64 processors with AVX2 and BMI2; the plain form says what each computes.
#if defined(__x86_64__)
#include <cpuid.h>

#define GS_LOOP_TARGET __attribute__((target("avx2,bmi,bmi2,lzcnt")))
#include "jpeg/jpeg_idct_avx2.hpp"
#include "jpeg/jpeg_progressive_loops.hpp"

namespace gs::jpeg {
namespace {

// Whether row 0 kept below the limit in all transforms.
GS_AVX2_INLINE bool kept_below(__m256i peak) {
    static_assert(kRow0Limit == 1 << 13);
    const __m256i over = _mm256_srli_epi16(peak, 13);
    return _mm256_testz_si256(over, over);
}

GS_AVX2 bool decode(Scan& scan, int mcus, const SamplePlane* planes) {
    __m256i peak = _mm256_setzero_si256();
    const auto idct = [&](std::int16_t* pair, const std::int16_t* quant, int extent, std::uint8_t* a,
                          std::uint8_t* b, std::ptrdiff_t stride)
                          GS_LOOP_LAMBDA { idct_pair_avx2(pair, quant, extent, a, b, stride, peak); };
    return decode_loop(scan, mcus, planes, idct) && kept_below(peak);
}

struct Avx2Bits {
    GS_AVX2_INLINE static std::uint32_t zeros(const std::int16_t* block) {
        const auto* v = reinterpret_cast<const __m256i*>(block);
        const __m256i none = _mm256_setzero_si256();
        const __m256i a = _mm256_cmpeq_epi16(_mm256_loadu_si256(v), none);
        const __m256i b = _mm256_cmpeq_epi16(_mm256_loadu_si256(v + 1), none);
        const __m256i in_order = _mm256_permute4x64_epi64(_mm256_packs_epi16(a, b), 0xD8);
        return static_cast<std::uint32_t>(_mm256_movemask_epi8(in_order));
    }
    GS_AVX2_INLINE static std::uint64_t nonzero(const std::int16_t* block) {
        return ~(std::uint64_t{zeros(block)} | std::uint64_t{zeros(block + 32)} << 32);
    }
    GS_AVX2_INLINE static std::uint32_t nth(std::uint64_t mask, std::uint32_t n) {
        return static_cast<std::uint32_t>(_tzcnt_u64(_pdep_u64(std::uint64_t{1} << n, mask)));
    }
};

// For processors that run pdep as a program of their own, of hundreds of cycles.
struct Avx2BitsWithoutPdep : Avx2Bits {
    GS_AVX2_INLINE static std::uint32_t nth(std::uint64_t mask, std::uint32_t n) {
        for (; n > 0; n--) mask = _blsr_u64(mask);
        return static_cast<std::uint32_t>(_tzcnt_u64(mask));
    }
};

GS_AVX2 bool scan(Scan& scan, const ProgressiveScan& progressive) {
    return progressive_loop<Avx2Bits>(scan, progressive);
}

GS_AVX2 bool scan_without_pdep(Scan& scan, const ProgressiveScan& progressive) {
    return progressive_loop<Avx2BitsWithoutPdep>(scan, progressive);
}

GS_AVX2 bool render(Scan& scan, const CoefficientPlane* coefficients, int row, int left, int mcus,
                    const SamplePlane* planes) {
    __m256i peak = _mm256_setzero_si256();
    const auto idct = [&](std::int16_t* pair, const std::int16_t* quant, int extent, std::uint8_t* a,
                          std::uint8_t* b, std::ptrdiff_t stride)
                          GS_LOOP_LAMBDA { idct_pair_avx2(pair, quant, extent, a, b, stride, peak); };
    render_loop<Avx2Bits>(scan, coefficients, row, left, mcus, planes, idct);
    return kept_below(peak);
}

GS_AVX2 bool skip(Scan& scan, std::int64_t mcus) {
    return skip_loop(scan, mcus);
}

GS_AVX2_INLINE __m256i load16(const std::uint8_t* p) {
    return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

GS_AVX2_INLINE __m256i times3(__m256i v) {
    return _mm256_add_epi16(v, _mm256_add_epi16(v, v));
}

// Entries of `even` and `odd` in turn, as bytes.
GS_AVX2_INLINE void store_in_turn(std::uint8_t* to, __m256i even, __m256i odd) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_or_si256(even, _mm256_slli_epi16(odd, 8)));
}

GS_AVX2 void upsample_h2(const std::uint8_t* in, int count, std::uint8_t* out) {
    for (int i = 0; i < count; i += 16) {
        const __m256i here = times3(load16(in + i));
        const __m256i even = _mm256_add_epi16(here, load16(in + i - 1));
        const __m256i odd = _mm256_add_epi16(here, load16(in + i + 1));
        store_in_turn(out + 2 * i, _mm256_srli_epi16(_mm256_add_epi16(even, _mm256_set1_epi16(1)), 2),
                      _mm256_srli_epi16(_mm256_add_epi16(odd, _mm256_set1_epi16(2)), 2));
    }
}

GS_AVX2 void upsample_h2v2(const std::uint8_t* near, const std::uint8_t* far, int count, std::uint8_t* out) {
    for (int i = 0; i < count; i += 16) {
        const __m256i before = _mm256_add_epi16(times3(load16(near + i - 1)), load16(far + i - 1));
        const __m256i here = times3(_mm256_add_epi16(times3(load16(near + i)), load16(far + i)));
        const __m256i after = _mm256_add_epi16(times3(load16(near + i + 1)), load16(far + i + 1));
        const __m256i even = _mm256_add_epi16(_mm256_add_epi16(here, before), _mm256_set1_epi16(8));
        const __m256i odd = _mm256_add_epi16(_mm256_add_epi16(here, after), _mm256_set1_epi16(7));
        store_in_turn(out + 2 * i, _mm256_srli_epi16(even, 4), _mm256_srli_epi16(odd, 4));
    }
}

GS_AVX2 void upsample_v2(const std::uint8_t* near, const std::uint8_t* far, int count, int bias,
                         std::uint8_t* out) {
    const __m256i round = _mm256_set1_epi16(static_cast<short>(bias));
    for (int i = 0; i < count; i += 16) {
        const __m256i sum =
            _mm256_add_epi16(_mm256_add_epi16(times3(load16(near + i)), load16(far + i)), round);
        const __m256i rows = _mm256_srli_epi16(sum, 2);
        const __m256i bytes = _mm256_permute4x64_epi64(_mm256_packus_epi16(rows, rows), 0xD8);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), _mm256_castsi256_si128(bytes));
    }
}

// Sixteen pixels of each lane: r, g, b as 16-bit entries before clamping.
GS_AVX2_INLINE void convert(__m256i y, __m256i cb, __m256i cr, __m256i& r, __m256i& g, __m256i& b) {
    const __m256i centre = _mm256_set1_epi16(128), one = _mm256_set1_epi16(1);
    cb = _mm256_sub_epi16(cb, centre);
    cr = _mm256_sub_epi16(cr, centre);
    // 1.402 = 1 + 26345 / 2^16 and 1.772 = 2 - 14942 / 2^16; the high half of twice the product, plus one,
    // halved, is the product rounded as libjpeg rounds it.
    const __m256i cb2 = _mm256_add_epi16(cb, cb), cr2 = _mm256_add_epi16(cr, cr);
    const __m256i r_part =
        _mm256_srai_epi16(_mm256_add_epi16(_mm256_mulhi_epi16(cr2, _mm256_set1_epi16(26345)), one), 1);
    const __m256i b_part =
        _mm256_srai_epi16(_mm256_add_epi16(_mm256_mulhi_epi16(cb2, _mm256_set1_epi16(-14942)), one), 1);
    r = _mm256_add_epi16(_mm256_add_epi16(y, cr), r_part);
    b = _mm256_add_epi16(_mm256_add_epi16(y, cb2), b_part);
    // -0.71414 = -1 + 18734 / 2^16.
    const __m256i weights = factors(-22554, 18734), half = _mm256_set1_epi32(32768);
    const __m256i low = _mm256_madd_epi16(_mm256_unpacklo_epi16(cb, cr), weights);
    const __m256i high = _mm256_madd_epi16(_mm256_unpackhi_epi16(cb, cr), weights);
    const __m256i g_part = _mm256_packs_epi32(_mm256_srai_epi32(_mm256_add_epi32(low, half), 16),
                                              _mm256_srai_epi32(_mm256_add_epi32(high, half), 16));
    g = _mm256_add_epi16(_mm256_sub_epi16(y, cr), g_part);
}

// Byte j of the three vectors of an interleaved run of 16 pixels comes from entry (16 * vector + j) / 3 of
// plane (16 * vector + j) % 3.
struct InterleaveMasks {
    alignas(32) std::int8_t of[3][3][32];  // [vector][plane]
    constexpr InterleaveMasks() : of{} {
        for (int vector = 0; vector < 3; vector++)
            for (int plane = 0; plane < 3; plane++)
                for (int j = 0; j < 32; j++) {
                    const int at = 16 * vector + j % 16;
                    of[vector][plane][j] = static_cast<std::int8_t>(at % 3 == plane ? at / 3 : -128);
                }
    }
};
constexpr InterleaveMasks kInterleave;

GS_AVX2_INLINE __m256i gather(const int vector, __m256i r, __m256i g, __m256i b) {
    const auto* mask = reinterpret_cast<const __m256i*>(kInterleave.of[vector]);
    return _mm256_or_si256(_mm256_or_si256(_mm256_shuffle_epi8(r, _mm256_load_si256(mask)),
                                           _mm256_shuffle_epi8(g, _mm256_load_si256(mask + 1))),
                           _mm256_shuffle_epi8(b, _mm256_load_si256(mask + 2)));
}

GS_AVX2_INLINE void store_pixels(std::uint8_t* to, __m256i r, __m256i g, __m256i b) {
    const __m256i out[3] = {gather(0, r, g, b), gather(1, r, g, b), gather(2, r, g, b)};
    for (int i = 0; i < 3; i++) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 16 * i), _mm256_castsi256_si128(out[i]));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 48 + 16 * i), _mm256_extracti128_si256(out[i], 1));
    }
}

GS_AVX2_INLINE __m256i load32(const std::uint8_t* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

GS_AVX2 void ycc_to_rgb(const std::uint8_t* y, const std::uint8_t* cb, const std::uint8_t* cr, int count,
                        std::uint8_t* rgb) {
    const __m256i zero = _mm256_setzero_si256();
    for (int i = 0; i < count; i += 32, rgb += 96) {
        const __m256i y8 = load32(y + i), cb8 = load32(cb + i), cr8 = load32(cr + i);
        __m256i r[2], g[2], b[2];
        convert(_mm256_unpacklo_epi8(y8, zero), _mm256_unpacklo_epi8(cb8, zero),
                _mm256_unpacklo_epi8(cr8, zero), r[0], g[0], b[0]);
        convert(_mm256_unpackhi_epi8(y8, zero), _mm256_unpackhi_epi8(cb8, zero),
                _mm256_unpackhi_epi8(cr8, zero), r[1], g[1], b[1]);
        store_pixels(rgb, _mm256_packus_epi16(r[0], r[1]), _mm256_packus_epi16(g[0], g[1]),
                     _mm256_packus_epi16(b[0], b[1]));
    }
}

GS_AVX2 void gray_to_rgb(const std::uint8_t* y, int count, std::uint8_t* rgb) {
    for (int i = 0; i < count; i += 32, rgb += 96) {
        const __m256i v = load32(y + i);
        store_pixels(rgb, v, v, v);
    }
}

const Kernels kAvx2Kernels = {"avx2",      decode,        skip,        scan,       render,
                              upsample_h2, upsample_h2v2, upsample_v2, ycc_to_rgb, gray_to_rgb};
const Kernels kWithoutPdep = {"avx2, no pdep", decode,        skip,        scan_without_pdep, render,
                              upsample_h2,     upsample_h2v2, upsample_v2, ycc_to_rgb,        gray_to_rgb};

// Zen 1 and 2 (family 17h; 18h is Hygon's Zen 1) and what AMD built before.
bool pdep_is_slow() {
    unsigned a = 0, name[3] = {};
    if (!__get_cpuid(0, &a, &name[0], &name[2], &name[1])) return false;
    const bool hygon = std::memcmp(name, "HygonGenuine", 12) == 0;
    unsigned b = 0, c = 0, d = 0;
    if ((!hygon && std::memcmp(name, "AuthenticAMD", 12) != 0) || !__get_cpuid(1, &a, &b, &c, &d))
        return false;
    const unsigned family = (a >> 8 & 15) == 15 ? 15 + (a >> 20 & 255) : a >> 8 & 15;
    return hygon || family < 0x19;
}

const bool slow = pdep_is_slow();

}  // namespace

const Kernels* avx2_kernels(bool pdep) {
    return pdep && !slow ? &kAvx2Kernels : &kWithoutPdep;
}

}  // namespace gs::jpeg

#else
#include "jpeg/jpeg_scan.hpp"

namespace gs::jpeg {

const Kernels* avx2_kernels(bool) {
    return nullptr;
}

}  // namespace gs::jpeg

#endif
