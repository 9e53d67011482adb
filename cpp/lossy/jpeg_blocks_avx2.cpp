// The inner loops of the JPEG round trip for processors with AVX2; what each computes is said in
// the plain form.
#include "lossy/jpeg_blocks.hpp"

#if defined(__x86_64__)
#include "jpeg/jpeg_idct_avx2.hpp"

namespace gs::transform {
namespace {

using jpeg::factors;

GS_AVX2_INLINE __m256i load(const void* p) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}
GS_AVX2_INLINE void store(void* p, __m256i v) {
    _mm256_storeu_si256(static_cast<__m256i*>(p), v);
}

// Byte j of a channel's 16 pixels is byte 3 j + channel of the 48 of the row.
struct SplitMasks {
    alignas(32) std::int8_t of[3][3][32];  // [channel][vector]
    constexpr SplitMasks() : of{} {
        for (int channel = 0; channel < 3; channel++)
            for (int vector = 0; vector < 3; vector++)
                for (int j = 0; j < 32; j++) {
                    const int at = 3 * (j % 16) + channel;
                    of[channel][vector][j] = static_cast<std::int8_t>(at / 16 == vector ? at % 16 : -128);
                }
    }
};
constexpr SplitMasks kSplit;

GS_AVX2_INLINE __m256i channel_of(int channel, const __m256i v[3]) {
    const auto* mask = reinterpret_cast<const __m256i*>(kSplit.of[channel]);
    return _mm256_or_si256(_mm256_or_si256(_mm256_shuffle_epi8(v[0], _mm256_load_si256(mask)),
                                           _mm256_shuffle_epi8(v[1], _mm256_load_si256(mask + 1))),
                           _mm256_shuffle_epi8(v[2], _mm256_load_si256(mask + 2)));
}

// Eight pixels of each lane: 16-bit entries of r, g, b to those of y, cb, cr.
GS_AVX2_INLINE void convert(__m256i r, __m256i g, __m256i b, __m256i& y, __m256i& cb, __m256i& cr) {
    const __m256i zero = _mm256_setzero_si256(), half = _mm256_set1_epi32(32768);
    const __m256i centre = _mm256_set1_epi32((128 << 16) + 32767);
    __m256i y32[2], cb32[2], cr32[2];
    for (int h = 0; h < 2; h++) {
        const __m256i rg = h ? _mm256_unpackhi_epi16(r, g) : _mm256_unpacklo_epi16(r, g);
        const __m256i bg = h ? _mm256_unpackhi_epi16(b, g) : _mm256_unpacklo_epi16(b, g);
        // 32768 does not fit into a factor: entries in the upper half of 32 bits, halved.
        const __m256i b15 =
            _mm256_srli_epi32(h ? _mm256_unpackhi_epi16(zero, b) : _mm256_unpacklo_epi16(zero, b), 1);
        const __m256i r15 =
            _mm256_srli_epi32(h ? _mm256_unpackhi_epi16(zero, r) : _mm256_unpacklo_epi16(zero, r), 1);
        // 38470 = 22086 + 16384
        y32[h] = _mm256_add_epi32(_mm256_madd_epi16(rg, factors(19595, 22086)),
                                  _mm256_madd_epi16(bg, factors(7471, 16384)));
        y32[h] = _mm256_srli_epi32(_mm256_add_epi32(y32[h], half), 16);
        cb32[h] = _mm256_add_epi32(_mm256_madd_epi16(rg, factors(-11059, -21709)), b15);
        cb32[h] = _mm256_srli_epi32(_mm256_add_epi32(cb32[h], centre), 16);
        cr32[h] = _mm256_add_epi32(_mm256_madd_epi16(bg, factors(-5329, -27439)), r15);
        cr32[h] = _mm256_srli_epi32(_mm256_add_epi32(cr32[h], centre), 16);
    }
    y = _mm256_packus_epi32(y32[0], y32[1]);
    cb = _mm256_packus_epi32(cb32[0], cb32[1]);
    cr = _mm256_packus_epi32(cr32[0], cr32[1]);
}

GS_AVX2 void rgb_to_ycc(const std::uint8_t* rgb, int count, std::uint8_t* y, std::uint8_t* cb,
                        std::uint8_t* cr) {
    const __m256i zero = _mm256_setzero_si256();
    for (int i = 0; i < count; i += 32, rgb += 96) {
        __m256i v[3];
        for (int k = 0; k < 3; k++) {
            const auto* at = reinterpret_cast<const __m128i*>(rgb + 16 * k);
            v[k] = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(at)),
                                           _mm_loadu_si128(at + 3), 1);
        }
        const __m256i r = channel_of(0, v), g = channel_of(1, v), b = channel_of(2, v);
        __m256i out[3][2];
        convert(_mm256_unpacklo_epi8(r, zero), _mm256_unpacklo_epi8(g, zero), _mm256_unpacklo_epi8(b, zero),
                out[0][0], out[1][0], out[2][0]);
        convert(_mm256_unpackhi_epi8(r, zero), _mm256_unpackhi_epi8(g, zero), _mm256_unpackhi_epi8(b, zero),
                out[0][1], out[1][1], out[2][1]);
        store(y + i, _mm256_packus_epi16(out[0][0], out[0][1]));
        store(cb + i, _mm256_packus_epi16(out[1][0], out[1][1]));
        store(cr + i, _mm256_packus_epi16(out[2][0], out[2][1]));
    }
}

// 16-bit sums of neighbours to bytes, in order.
GS_AVX2_INLINE __m256i pack_in_order(__m256i a, __m256i b) {
    return _mm256_permute4x64_epi64(_mm256_packus_epi16(a, b), 0xD8);
}

GS_AVX2 void halve_h2v2(const std::uint8_t* upper, const std::uint8_t* lower, int count, std::uint8_t* out) {
    const __m256i one = _mm256_set1_epi8(1), bias = factors(1, 2);
    for (int i = 0; i < count; i += 32) {
        __m256i sums[2];
        for (int k = 0; k < 2; k++) {
            const __m256i a = _mm256_maddubs_epi16(load(upper + 2 * i + 32 * k), one);
            const __m256i b = _mm256_maddubs_epi16(load(lower + 2 * i + 32 * k), one);
            sums[k] = _mm256_srli_epi16(_mm256_add_epi16(_mm256_add_epi16(a, b), bias), 2);
        }
        store(out + i, pack_in_order(sums[0], sums[1]));
    }
}

GS_AVX2 void halve_h2(const std::uint8_t* row, int count, std::uint8_t* out) {
    const __m256i one = _mm256_set1_epi8(1), bias = factors(0, 1);
    for (int i = 0; i < count; i += 32) {
        __m256i sums[2];
        for (int k = 0; k < 2; k++) {
            const __m256i a = _mm256_maddubs_epi16(load(row + 2 * i + 32 * k), one);
            sums[k] = _mm256_srli_epi16(_mm256_add_epi16(a, bias), 1);
        }
        store(out + i, pack_in_order(sums[0], sums[1]));
    }
}

// Two products each, descaled to 16 bits.
template <int kShift>
GS_AVX2_INLINE __m256i descale(const __m256i sum[2]) {
    const __m256i round = _mm256_set1_epi32(1 << (kShift - 1));
    return _mm256_packs_epi32(_mm256_srai_epi32(_mm256_add_epi32(sum[0], round), kShift),
                              _mm256_srai_epi32(_mm256_add_epi32(sum[1], round), kShift));
}

// a * fa + b * fb, in 32 bits.
struct Dot {
    __m256i of[2];
    GS_AVX2_INLINE Dot(__m256i a, int fa, __m256i b, int fb) {
        of[0] = _mm256_madd_epi16(_mm256_unpacklo_epi16(a, b), factors(fa, fb));
        of[1] = _mm256_madd_epi16(_mm256_unpackhi_epi16(a, b), factors(fa, fb));
    }
    GS_AVX2_INLINE Dot& operator+=(const Dot& other) {
        of[0] = _mm256_add_epi32(of[0], other.of[0]);
        of[1] = _mm256_add_epi32(of[1], other.of[1]);
        return *this;
    }
};

// The forward pass with its products gathered into pairs; 16 bits hold all sums of inputs.
template <bool kSecond>
GS_AVX2_INLINE void dct_pass(__m256i v[8]) {
    constexpr int kShift = kSecond ? 15 : 11;
    const __m256i t0 = _mm256_add_epi16(v[0], v[7]), t7 = _mm256_sub_epi16(v[0], v[7]);
    const __m256i t1 = _mm256_add_epi16(v[1], v[6]), t6 = _mm256_sub_epi16(v[1], v[6]);
    const __m256i t2 = _mm256_add_epi16(v[2], v[5]), t5 = _mm256_sub_epi16(v[2], v[5]);
    const __m256i t3 = _mm256_add_epi16(v[3], v[4]), t4 = _mm256_sub_epi16(v[3], v[4]);
    const __m256i t10 = _mm256_add_epi16(t0, t3), t13 = _mm256_sub_epi16(t0, t3);
    const __m256i t11 = _mm256_add_epi16(t1, t2), t12 = _mm256_sub_epi16(t1, t2);
    const __m256i sum = _mm256_add_epi16(t10, t11), difference = _mm256_sub_epi16(t10, t11);
    if (kSecond) {
        const __m256i two = _mm256_set1_epi16(2);
        v[0] = _mm256_srai_epi16(_mm256_add_epi16(sum, two), 2);
        v[4] = _mm256_srai_epi16(_mm256_add_epi16(difference, two), 2);
    } else {
        v[0] = _mm256_slli_epi16(sum, 2);
        v[4] = _mm256_slli_epi16(difference, 2);
    }
    v[2] = descale<kShift>(Dot(t13, 4433 + 6270, t12, 4433).of);
    v[6] = descale<kShift>(Dot(t13, 4433, t12, 4433 - 15137).of);
    const __m256i z3 = _mm256_add_epi16(t4, t6), z4 = _mm256_add_epi16(t5, t7);
    const Dot s3(z3, 9633 - 16069, z4, 9633), s4(z3, 9633, z4, 9633 - 3196);
    v[7] = descale<kShift>((Dot(t4, 2446 - 7373, t7, -7373) += s3).of);
    v[5] = descale<kShift>((Dot(t5, 16819 - 20995, t6, -20995) += s4).of);
    v[3] = descale<kShift>((Dot(t5, -20995, t6, 25172 - 20995) += s3).of);
    v[1] = descale<kShift>((Dot(t4, -7373, t7, 12299 - 7373) += s4).of);
}

GS_AVX2 void round_trip(std::uint8_t* samples, std::ptrdiff_t stride, int pairs, const QuantTable& table) {
    const auto* half = reinterpret_cast<const __m256i*>(table.half);
    const auto* reciprocal = reinterpret_cast<const __m256i*>(table.reciprocal);
    const auto* unshift = reinterpret_cast<const __m256i*>(table.unshift);
    const __m256i centre = _mm256_set1_epi16(128);
    const __m256i right_columns = _mm256_setr_epi64x(0, -1, 0, -1);
    alignas(32) std::int16_t coefficients[jpeg::kPairEntries];
    auto* rows = reinterpret_cast<__m256i*>(coefficients);
    __m256i peak = _mm256_setzero_si256();  // of no interest here: coefficients of 8-bit samples stay small
    for (int pair = 0; pair < pairs; pair++, samples += 16) {
        __m256i v[8];
        for (int i = 0; i < 8; i++) {
            const __m128i row = _mm_loadu_si128(reinterpret_cast<const __m128i*>(samples + i * stride));
            v[i] = _mm256_sub_epi16(_mm256_cvtepu8_epi16(row), centre);
        }
        jpeg::transpose(v);
        dct_pass<false>(v);
        jpeg::transpose(v);
        dct_pass<true>(v);
        __m256i beyond = _mm256_setzero_si256();  // what is not in the upper left 4 x 4 corner
        for (int i = 0; i < 8; i++) {
            const __m256i t = _mm256_srli_epi16(_mm256_add_epi16(_mm256_abs_epi16(v[i]), half[i]), 2);
            const __m256i scaled = _mm256_slli_epi16(_mm256_mulhi_epu16(t, reciprocal[i]), 1);
            const __m256i level = _mm256_sign_epi16(_mm256_mulhi_epu16(scaled, unshift[i]), v[i]);
            _mm256_store_si256(rows + i, level);
            beyond = _mm256_or_si256(beyond, i < 4 ? _mm256_and_si256(level, right_columns) : level);
        }
        const int extent = _mm256_testz_si256(beyond, beyond) ? 10 : 64;
        jpeg::idct_pair_avx2(coefficients, table.quant, extent, samples, samples + 8, stride, peak);
    }
}

const BlockKernels kAvx2BlockKernels = {rgb_to_ycc, halve_h2v2, halve_h2, round_trip};

}  // namespace

const BlockKernels* avx2_block_kernels() {
    return &kAvx2BlockKernels;
}

}  // namespace gs::transform

#else

namespace gs::transform {

const BlockKernels* avx2_block_kernels() {
    return nullptr;
}

}  // namespace gs::transform

#endif
