#include "transform/noise.hpp"

#include <cmath>
#include <cstring>

#include "base/cpu.hpp"

namespace gs::transform {
namespace {

#if defined(__x86_64__)
#include <immintrin.h>
#define GS_VECTOR __attribute__((target("avx2,fma")))
#else
#define GS_VECTOR
#endif
#define GS_LOOP inline __attribute__((always_inline))

constexpr int kLanes = 16;

GS_LOOP float as_float(std::uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}
GS_LOOP std::uint32_t as_bits(float value) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, 4);
    return bits;
}

// The logarithm of u in (0, 1]: u = m * 2^e with m in 2/3 .. 4/3, and ln m as a series in (m - 1) / (m + 1).
GS_LOOP float log_of(float u) {
    const std::int32_t from = 0x3f2aaaab;  // 2/3
    const auto bits = static_cast<std::int32_t>(as_bits(u));
    const std::int32_t e = (bits - from) >> 23;
    const float m = as_float(static_cast<std::uint32_t>(bits - e * (1 << 23)));
    const float s = (m - 1.0f) / (m + 1.0f), s2 = s * s;
    const float series = 2.0f + s2 * (2.0f / 3 + s2 * (2.0f / 5 + s2 * (2.0f / 7 + s2 * (2.0f / 9))));
    return static_cast<float>(e) * 0.693147182f + s * series;
}

// Square roots of kLanes numbers: a loop of std::sqrt would stay scalar for the sake of errno.
struct PlainRoots {
    GS_LOOP static void take(float* values) {
        for (int i = 0; i < kLanes; i++) values[i] = std::sqrt(values[i]);
    }
};
#if defined(__x86_64__)
struct VectorRoots {
    GS_VECTOR static void take(float* values) {
        for (int i = 0; i < kLanes; i += 8)
            _mm256_storeu_ps(values + i, _mm256_sqrt_ps(_mm256_loadu_ps(values + i)));
    }
};
#else
using VectorRoots = PlainRoots;
#endif

// Two words of each lane to two normal numbers.
template <typename Roots>
GS_LOOP void normals(const std::uint32_t* a, const std::uint32_t* b, float* first, float* second) {
    float radius[kLanes];
    for (int i = 0; i < kLanes; i++) {
        const float u = static_cast<float>(static_cast<std::int32_t>(a[i] >> 8) + 1) * 0x1p-24f;
        radius[i] = -2.0f * log_of(u);
    }
    Roots::take(radius);
    for (int i = 0; i < kLanes; i++) {
        // b is an angle in 1 / 2^32 of a turn: the nearest quarter, and up to an eighth of a turn from there.
        const std::uint32_t quarter = (b[i] + 0x20000000u) >> 30;
        const auto rest = static_cast<std::int32_t>(b[i] - (quarter << 30));
        const float x = static_cast<float>(rest) * 1.46291808e-9f, x2 = x * x;  // 2 pi / 2^32
        const float sine = x * (1.0f + x2 * (-1.0f / 6 + x2 * (1.0f / 120 + x2 * (-1.0f / 5040))));
        const float cosine =
            1.0f + x2 * (-0.5f + x2 * (1.0f / 24 + x2 * (-1.0f / 720 + x2 * (1.0f / 40320))));
        const bool odd = (quarter & 1) != 0;
        const float across = odd ? sine : cosine, up = odd ? cosine : sine;
        // Signs by their bit: negative in quarters 1 and 2, and in 2 and 3.
        const std::uint32_t across_sign = ((quarter ^ (quarter >> 1)) & 1) << 31, up_sign = (quarter >> 1)
                                                                                            << 31;
        first[i] = radius[i] * as_float(as_bits(across) ^ across_sign);
        second[i] = radius[i] * as_float(as_bits(up) ^ up_sign);
    }
}

// Pixels first .. first + kLanes - 1 of the image, by number, as three rows of normal numbers.
template <typename Roots>
GS_LOOP void pixel_normals(std::uint32_t first, PhiloxKey key, float z[4][kLanes]) {
    std::uint32_t c[4][kLanes] = {};
    for (int i = 0; i < kLanes; i++) c[0][i] = first + static_cast<std::uint32_t>(i);
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < kLanes; i++) {
            const std::uint64_t a = std::uint64_t{0xD2511F53} * c[0][i],
                                b = std::uint64_t{0xCD9E8D57} * c[2][i];
            c[0][i] = static_cast<std::uint32_t>(b >> 32) ^ c[1][i] ^ key.low;
            c[1][i] = static_cast<std::uint32_t>(b);
            c[2][i] = static_cast<std::uint32_t>(a >> 32) ^ c[3][i] ^ key.high;
            c[3][i] = static_cast<std::uint32_t>(a);
        }
        key = {key.low + 0x9E3779B9, key.high + 0xBB67AE85};
    }
    normals<Roots>(c[0], c[1], z[0], z[1]);
    normals<Roots>(c[2], c[3], z[2], z[3]);
}

template <typename Roots>
GS_LOOP void row_loop(const std::uint8_t* from, std::uint32_t first, int count, PhiloxKey key, float offset,
                      float scale, std::uint8_t* to) {
    for (int x = 0; x < count; x += kLanes) {
        float z[4][kLanes];
        pixel_normals<Roots>(first + static_cast<std::uint32_t>(x), key, z);
        const int lanes = count - x < kLanes ? count - x : kLanes;
        for (int i = 0; i < lanes; i++)
            for (int c = 0; c < 3; c++) {
                const int at = 3 * (x + i) + c;
                float value = static_cast<float>(from[at]) + (offset + scale * z[c][i]);
                value = value < 0.0f ? 0.0f : value > 255.0f ? 255.0f : value;
                value = (value + 12582912.0f) - 12582912.0f;  // 1.5 * 2^23 leaves no bits for the fraction
                to[at] = static_cast<std::uint8_t>(static_cast<int>(value));
            }
    }
}
GS_VECTOR void row_vector(const std::uint8_t* from, std::uint32_t first, int count, PhiloxKey key,
                          float offset, float scale, std::uint8_t* to) {
    row_loop<VectorRoots>(from, first, count, key, offset, scale, to);
}
void row_plain(const std::uint8_t* from, std::uint32_t first, int count, PhiloxKey key, float offset,
               float scale, std::uint8_t* to) {
    row_loop<PlainRoots>(from, first, count, key, offset, scale, to);
}

template <typename Roots>
GS_LOOP void normals_loop(PhiloxKey key, std::uint32_t first, int count, float* to) {
    for (int x = 0; x < count; x += kLanes) {
        float z[4][kLanes];
        pixel_normals<Roots>(first + static_cast<std::uint32_t>(x), key, z);
        const int lanes = count - x < kLanes ? count - x : kLanes;
        for (int c = 0; c < 3; c++)
            std::memcpy(to + std::ptrdiff_t{c} * count + x, z[c],
                        sizeof(float) * static_cast<unsigned>(lanes));
    }
}
GS_VECTOR void normals_vector(PhiloxKey key, std::uint32_t first, int count, float* to) {
    normals_loop<VectorRoots>(key, first, count, to);
}
void normals_plain(PhiloxKey key, std::uint32_t first, int count, float* to) {
    normals_loop<PlainRoots>(key, first, count, to);
}

class NoiseStep final : public PointStep {
  public:
    NoiseStep(PhiloxKey key, float offset, float scale) : key_(key), offset_(offset), scale_(scale) {}
    void run(const Part& in, const Rect& window, const Canvas& out, Scratch&) const override {
        const auto row = simd_level() >= Simd::avx2 ? row_vector : row_plain;
        for (int y = 0; y < window.height; y++) {
            const auto first =
                static_cast<std::uint32_t>(std::int64_t{window.y + y} * in.whole.width + window.x);
            row(in.at(window.x, window.y + y), first, window.width, key_, offset_, scale_, out.row(y));
        }
    }

  private:
    PhiloxKey key_;
    float offset_, scale_;
};

}  // namespace

void normal_pixels(PhiloxKey key, std::uint32_t first, int count, float* to) {
    (simd_level() >= Simd::avx2 ? normals_vector : normals_plain)(key, first, count, to);
}

std::shared_ptr<const Step> noise_step(PhiloxKey key, float offset, float scale) {
    return std::make_shared<NoiseStep>(key, offset, scale);
}

}  // namespace gs::transform
