// The plain form: what the vector form is compared with, and what other processors run.
#include "lossy/jpeg_blocks.hpp"

#include <algorithm>
#include <cstdlib>

#include "base/cpu.hpp"
#include "jpeg/jpeg_idct.hpp"
#include "jpeg/jpeg_scan.hpp"

namespace gs::transform {
namespace {

// Annex K of the JPEG standard, in rows.
constexpr std::uint8_t kLuma[64] = {16, 11, 10, 16, 24,  40,  51,  61,  12, 12, 14, 19, 26,  58,  60,  55,
                                    14, 13, 16, 24, 40,  57,  69,  56,  14, 17, 22, 29, 51,  87,  80,  62,
                                    18, 22, 37, 56, 68,  109, 103, 77,  24, 35, 55, 64, 81,  104, 113, 92,
                                    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99};
constexpr std::uint8_t kChroma[64] = {17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99,
                                      24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99,
                                      99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
                                      99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99};

// libjpeg's fixed-point conversion (jccolor.c): factors times 2^16; chroma is rounded a hair below one half
// so that the highest value stays within 8 bits.
void rgb_to_ycc(const std::uint8_t* rgb, int count, std::uint8_t* y, std::uint8_t* cb, std::uint8_t* cr) {
    constexpr int kCentre = (128 << 16) + 32767;
    for (int i = 0; i < count; i++, rgb += 3) {
        const int r = rgb[0], g = rgb[1], b = rgb[2];
        y[i] = static_cast<std::uint8_t>((19595 * r + 38470 * g + 7471 * b + 32768) >> 16);
        cb[i] = static_cast<std::uint8_t>((-11059 * r - 21709 * g + 32768 * b + kCentre) >> 16);
        cr[i] = static_cast<std::uint8_t>((32768 * r - 27439 * g - 5329 * b + kCentre) >> 16);
    }
}

void halve_h2v2(const std::uint8_t* upper, const std::uint8_t* lower, int count, std::uint8_t* out) {
    for (int i = 0; i < count; i++)
        out[i] = static_cast<std::uint8_t>(
            (upper[2 * i] + upper[2 * i + 1] + lower[2 * i] + lower[2 * i + 1] + 1 + (i & 1)) >> 2);
}

void halve_h2(const std::uint8_t* row, int count, std::uint8_t* out) {
    for (int i = 0; i < count; i++)
        out[i] = static_cast<std::uint8_t>((row[2 * i] + row[2 * i + 1] + (i & 1)) >> 1);
}

// One pass of libjpeg's accurate forward DCT (jfdctint.c) over eight values `step` apart. The first pass,
// over rows, leaves two more fraction bits; the second takes them away again.
void dct_pass(std::int32_t* v, int step, bool second) {
    const auto at = [&](int i) -> std::int32_t& { return v[i * step]; };
    const int shift = second ? 15 : 11;
    const auto descale = [](std::int32_t x, int n) { return (x + (1 << (n - 1))) >> n; };
    std::int32_t t0 = at(0) + at(7), t7 = at(0) - at(7), t1 = at(1) + at(6), t6 = at(1) - at(6);
    std::int32_t t2 = at(2) + at(5), t5 = at(2) - at(5), t3 = at(3) + at(4), t4 = at(3) - at(4);
    const std::int32_t t10 = t0 + t3, t13 = t0 - t3, t11 = t1 + t2, t12 = t1 - t2;
    at(0) = second ? descale(t10 + t11, 2) : (t10 + t11) * 4;
    at(4) = second ? descale(t10 - t11, 2) : (t10 - t11) * 4;
    const std::int32_t even = (t12 + t13) * 4433;
    at(2) = descale(even + t13 * 6270, shift);
    at(6) = descale(even - t12 * 15137, shift);
    const std::int32_t z5 = (t4 + t6 + t5 + t7) * 9633;
    const std::int32_t z1 = (t4 + t7) * -7373, z2 = (t5 + t6) * -20995;
    const std::int32_t z3 = (t4 + t6) * -16069 + z5, z4 = (t5 + t7) * -3196 + z5;
    at(7) = descale(t4 * 2446 + z1 + z3, shift);
    at(5) = descale(t5 * 16819 + z2 + z4, shift);
    at(3) = descale(t6 * 25172 + z2 + z3, shift);
    at(1) = descale(t7 * 12299 + z1 + z4, shift);
}

void round_trip(std::uint8_t* samples, std::ptrdiff_t stride, int pairs, const QuantTable& table) {
    for (int pair = 0; pair < pairs; pair++, samples += 16) {
        alignas(32) std::int16_t coefficients[jpeg::kPairEntries] = {};
        for (int lane = 0; lane < 2; lane++) {
            std::int32_t v[64];
            for (int i = 0; i < 64; i++) v[i] = samples[i / 8 * stride + 8 * lane + i % 8] - 128;
            for (int i = 0; i < 8; i++) dct_pass(v + 8 * i, 1, false);
            for (int i = 0; i < 8; i++) dct_pass(v + i, 8, true);
            for (int i = 0; i < 64; i++) {
                const int entry = i / 8 * 16 + 8 * lane + i % 8;
                const int q = table.quant[entry];
                const int level = (std::abs(v[i]) + 4 * q) / (8 * q);
                coefficients[entry] = static_cast<std::int16_t>(v[i] < 0 ? -level : level);
            }
        }
        jpeg::idct_pair_plain(coefficients, table.quant, 64, samples, samples + 8, stride);
    }
}

}  // namespace

QuantTable::QuantTable(bool chroma, int quality) {
    const int scale = quality < 50 ? 5000 / quality : 200 - 2 * quality;
    for (int i = 0; i < 64; i++) {
        const int q = std::clamp(((chroma ? kChroma : kLuma)[i] * scale + 50) / 100, 1, 255);
        const int s = 31 - __builtin_clz(static_cast<unsigned>(q));
        for (int lane = 0; lane < 2; lane++) {
            const int entry = i / 8 * 16 + 8 * lane + i % 8;
            quant[entry] = static_cast<std::int16_t>(q);
            half[entry] = static_cast<std::int16_t>(4 * q);
            reciprocal[entry] = static_cast<std::uint16_t>(((1 << (15 + s)) + q - 1) / q);
            unshift[entry] = static_cast<std::uint16_t>(1 << (15 - s));
        }
    }
}

const BlockKernels kPlainBlockKernels = {rgb_to_ycc, halve_h2v2, halve_h2, round_trip};

const BlockKernels& block_kernels() {
    const BlockKernels* vector =
        simd_level() >= Simd::avx2 && jpeg::avx2_kernels() ? avx2_block_kernels() : nullptr;
    return vector ? *vector : kPlainBlockKernels;
}

}  // namespace gs::transform
