// OpenCV's and torchvision's Gaussian blur on 8-bit images, bit for bit.
//
// Loops that the compiler vectorises are written once and compiled for processors with AVX2 and for all others.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/cpu.hpp"
#include "transform/blur.hpp"
#include "transform/edges.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#define GS_VECTOR __attribute__((target("avx2,fma")))
#define GS_LOOP inline __attribute__((always_inline))
#endif

namespace gs::transform {
namespace {

#if !defined(__x86_64__)
#define GS_VECTOR
#define GS_LOOP inline
#endif

bool vectors() {
    return simd_level() >= Simd::avx2;
}

// OpenCV's kernels are symmetric: `half` has the centre's weight and those 1, 2, ... places away. A block of outputs
// goes through all taps, so that its sums stay in registers.
constexpr int kBlock = 32;

// sums[i] = the weighted sum of bytes centre[i] and low[j][i] + high[j][i]; it stays below 2^16.
void down_plain(const std::uint8_t* centre, const std::uint8_t* const* low, const std::uint8_t* const* high,
                const int* half, int reach, int count, std::uint16_t* sums) {
    for (int i = 0; i < count; i++) {
        int total = half[0] * centre[i];
        for (int j = 1; j <= reach; j++) total += half[j] * (low[j][i] + high[j][i]);
        sums[i] = static_cast<std::uint16_t>(total);
    }
}

#if defined(__x86_64__)
// Products of unsigned bytes and bytes with signs, two summed in 15 bits: so much two equal weights may be.
constexpr int kMostInPairs = 64;

// 32 bytes at a time, for weights beside the centre's that are at most kMostInPairs.
GS_VECTOR void down_pairs(const std::uint8_t* centre, const std::uint8_t* const* low,
                          const std::uint8_t* const* high, const int* half, int reach, int count,
                          std::uint16_t* sums) {
    const __m256i zero = _mm256_setzero_si256();
    const auto load = [&](const std::uint8_t* from)
                          GS_VECTOR { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)); };
    const __m256i middle = _mm256_set1_epi16(static_cast<short>(half[0]));
    for (int at = 0; at < count; at += kBlock) {
        const __m256i bytes = load(centre + at);
        __m256i near = _mm256_mullo_epi16(_mm256_unpacklo_epi8(bytes, zero), middle);
        __m256i far = _mm256_mullo_epi16(_mm256_unpackhi_epi8(bytes, zero), middle);
        for (int j = 1; j <= reach; j++) {
            const __m256i weight = _mm256_set1_epi8(static_cast<char>(half[j]));
            const __m256i a = load(low[j] + at), b = load(high[j] + at);
            near = _mm256_add_epi16(near, _mm256_maddubs_epi16(_mm256_unpacklo_epi8(a, b), weight));
            far = _mm256_add_epi16(far, _mm256_maddubs_epi16(_mm256_unpackhi_epi8(a, b), weight));
        }
        // Unpacking works within halves of a vector: their order is put right.
        auto* to = reinterpret_cast<__m256i*>(sums + at);
        _mm256_storeu_si256(to, _mm256_permute2x128_si256(near, far, 0x20));
        _mm256_storeu_si256(to + 1, _mm256_permute2x128_si256(near, far, 0x31));
    }
}

// 32 bytes at a time. Compilers take the 8-bit loads for possible aliases and stay with single bytes.
GS_VECTOR void down_vector(const std::uint8_t* centre, const std::uint8_t* const* low,
                           const std::uint8_t* const* high, const int* half, int reach, int count,
                           std::uint16_t* sums) {
    const auto fits = [](int weight) { return weight >= 0 && weight <= kMostInPairs; };
    if (std::all_of(half + 1, half + reach + 1, fits))
        return down_pairs(centre, low, high, half, reach, count, sums);
    for (int at = 0; at < count; at += kBlock) {
        __m256i total[2];
        for (int g = 0; g < 2; g++) {
            const auto* words = reinterpret_cast<const __m128i*>(centre + at + 16 * g);
            total[g] = _mm256_mullo_epi16(_mm256_cvtepu8_epi16(_mm_loadu_si128(words)),
                                          _mm256_set1_epi16(static_cast<short>(half[0])));
        }
        for (int j = 1; j <= reach; j++) {
            const __m256i weight = _mm256_set1_epi16(static_cast<short>(half[j]));
            for (int g = 0; g < 2; g++) {
                const auto* a = reinterpret_cast<const __m128i*>(low[j] + at + 16 * g);
                const auto* b = reinterpret_cast<const __m128i*>(high[j] + at + 16 * g);
                const __m256i pair = _mm256_add_epi16(_mm256_cvtepu8_epi16(_mm_loadu_si128(a)),
                                                      _mm256_cvtepu8_epi16(_mm_loadu_si128(b)));
                total[g] = _mm256_add_epi16(total[g], _mm256_mullo_epi16(pair, weight));
            }
        }
        for (int g = 0; g < 2; g++)
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + at + 16 * g), total[g]);
    }
}
#else
constexpr auto down_vector = down_plain;
#endif

// bytes[i] = the rounded weighted sum of sums[i] and its neighbours of the same channel, over 2^16.
void across_plain(const std::uint16_t* sums, const int* half, int reach, int count, std::uint8_t* bytes) {
    for (int i = 0; i < count; i++) {
        std::uint32_t total = (1u << 15) + static_cast<std::uint32_t>(half[0]) * sums[i];
        for (int j = 1; j <= reach; j++)
            total += static_cast<std::uint32_t>(half[j]) *
                     (static_cast<std::uint32_t>(sums[i - 3 * j]) + sums[i + 3 * j]);
        bytes[i] = static_cast<std::uint8_t>(total >> 16);
    }
}

#if defined(__x86_64__)
// 32 at a time. Products are of 16 bits with signs: sums without their highest half, which all weights together make
// good.
GS_VECTOR void across_vector(const std::uint16_t* sums, const int* half, int reach, int count,
                             std::uint8_t* bytes) {
    std::uint32_t weights = static_cast<std::uint32_t>(half[0]);
    for (int j = 1; j <= reach; j++) weights += 2 * static_cast<std::uint32_t>(half[j]);
    const __m256i begin = _mm256_set1_epi32(static_cast<int>((1u << 15) + (weights << 15)));
    const __m256i highest = _mm256_set1_epi16(static_cast<short>(0x8000)), zero = _mm256_setzero_si256();
    const auto load = [&](const std::uint16_t* from) GS_VECTOR {
        return _mm256_xor_si256(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)), highest);
    };
    for (int at = 0; at < count; at += kBlock) {
        __m256i total[4] = {begin, begin, begin, begin};
        const auto add = [&](int g, __m256i a, __m256i b, __m256i weight) GS_VECTOR {
            total[2 * g] =
                _mm256_add_epi32(total[2 * g], _mm256_madd_epi16(_mm256_unpacklo_epi16(a, b), weight));
            total[2 * g + 1] =
                _mm256_add_epi32(total[2 * g + 1], _mm256_madd_epi16(_mm256_unpackhi_epi16(a, b), weight));
        };
        const __m256i middle = _mm256_set1_epi16(static_cast<short>(half[0]));
        for (int g = 0; g < 2; g++) add(g, load(sums + at + 16 * g), zero, middle);
        for (int j = 1; j <= reach; j++) {
            const __m256i weight = _mm256_set1_epi16(static_cast<short>(half[j]));
            for (int g = 0; g < 2; g++) {
                const std::uint16_t* from = sums + at + 16 * g;
                add(g, load(from - 3 * j), load(from + 3 * j), weight);
            }
        }
        for (int g = 0; g < 2; g++)
            total[g] = _mm256_packus_epi32(_mm256_srli_epi32(total[2 * g], 16),
                                           _mm256_srli_epi32(total[2 * g + 1], 16));
        const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi16(total[0], total[1]), 0xD8);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(bytes + at), packed);
    }
}
#else
constexpr auto across_vector = across_plain;
#endif

class Cv2Blur final : public Step {
  public:
    Cv2Blur(const std::vector<int>& across, const std::vector<int>& down)
        : across_(half_of(across)), down_(half_of(down)) {}

    Rect needs(Size in, const Rect& window) const override {
        return reach_of(in, window, reach(across_), reach(down_), mirror_without_edge);
    }

    void run(const Part& in, const Rect& window, const Canvas& out, Scratch& scratch) const override {
        const int x_reach = reach(across_), y_reach = reach(down_), columns = in.held.width;
        const auto room = [](int pixels) { return static_cast<std::size_t>(3 * pixels + 2 * kBlock); };
        // Filtered down: the columns at hand, and the window's with their mirrored neighbours.
        const std::size_t held = room(columns), continued = room(window.width + 2 * x_reach);
        auto* sums =
            reinterpret_cast<std::uint16_t*>(scratch.a.reserve(sizeof(std::uint16_t) * (held + continued)));
        std::uint16_t* line = sums + held;
        std::memset(line, 0, sizeof(std::uint16_t) * continued);
        std::vector<const std::uint8_t*> low(down_.size()), high(down_.size());
        const bool fast = vectors();
        for (int y = 0; y < window.height; y++) {
            const auto row = [&](int at) {
                return in.at(in.held.x, mirror_without_edge(window.y + y + at, in.whole.height));
            };
            for (int j = 1; j <= y_reach; j++) {
                low[static_cast<std::size_t>(j)] = row(-j);
                high[static_cast<std::size_t>(j)] = row(j);
            }
            (fast ? down_vector : down_plain)(row(0), low.data(), high.data(), down_.data(), y_reach,
                                              3 * columns, sums);
            const auto mirrored = [&](int begin, int end) {
                for (int i = begin; i < end; i++) {
                    const int at = mirror_without_edge(window.x + i, in.whole.width) - in.held.x;
                    std::memcpy(line + 3 * (i + x_reach), sums + 3 * at, 3 * sizeof(std::uint16_t));
                }
            };
            const int inside = std::max(-x_reach, -window.x);
            const int inside_end = std::min(window.width + x_reach, in.whole.width - window.x);
            mirrored(-x_reach, inside);
            std::memcpy(line + 3 * (inside + x_reach), sums + 3 * (window.x + inside - in.held.x),
                        sizeof(std::uint16_t) * 3 * static_cast<std::size_t>(inside_end - inside));
            mirrored(inside_end, window.width + x_reach);
            (fast ? across_vector : across_plain)(line + 3 * x_reach, across_.data(), x_reach,
                                                  3 * window.width, out.row(y));
        }
    }

  private:
    static std::vector<int> half_of(const std::vector<int>& kernel) {
        return {kernel.begin() + static_cast<std::ptrdiff_t>(kernel.size() / 2), kernel.end()};
    }
    static int reach(const std::vector<int>& half) { return static_cast<int>(half.size()) - 1; }

    std::vector<int> across_, down_;
};

// sums[i] = fma(weight, bytes[i], sums[i]) for one tap at a time would store sums again and again; a block of
// outputs goes through all taps instead. `rows[k]` is the window's row for kernel row k, continued on the
// left by the reach.
GS_LOOP void torch_loop(const float* const* rows, const float* kernel, int kernel_width, int kernel_height,
                        int count, std::uint8_t* bytes) {
    for (int at = 0; at < count; at += kBlock) {
        float total[kBlock] = {};
        for (int r = 0; r < kernel_height; r++)
            for (int k = 0; k < kernel_width; k++) {
                const float w = kernel[r * kernel_width + k];
                const float* from = rows[r] + at + 3 * k;
                for (int i = 0; i < kBlock; i++) total[i] = __builtin_fmaf(w, from[i], total[i]);
            }
        // Rounds half to even: adding 1.5 * 2^23 leaves no bits for the fraction.
        for (int i = 0; i < kBlock; i++) {
            const float whole = (total[i] + 12582912.0f) - 12582912.0f;
            bytes[at + i] = static_cast<std::uint8_t>(static_cast<int>(whole));
        }
    }
}
GS_VECTOR void torch_vector(const float* const* rows, const float* kernel, int kernel_width,
                            int kernel_height, int count, std::uint8_t* bytes) {
    torch_loop(rows, kernel, kernel_width, kernel_height, count, bytes);
}
void torch_plain(const float* const* rows, const float* kernel, int kernel_width, int kernel_height,
                 int count, std::uint8_t* bytes) {
    torch_loop(rows, kernel, kernel_width, kernel_height, count, bytes);
}

class TorchBlur final : public Step {
  public:
    TorchBlur(std::vector<float> kernel, int width, int height)
        : kernel_(std::move(kernel)), width_(width), height_(height) {}

    Rect needs(Size in, const Rect& window) const override {
        return reach_of(in, window, width_ / 2, height_ / 2, mirror_without_edge);
    }

    void run(const Part& in, const Rect& window, const Canvas& out, Scratch& scratch) const override {
        // The rows that one output row needs, as floats, in a ring: row y of the image is in slot
        // y modulo height.
        const int reach = width_ / 2, count = 3 * (window.width + 2 * reach);
        const auto stride = static_cast<std::size_t>(count + 64);
        auto* ring = reinterpret_cast<float*>(
            scratch.a.reserve(sizeof(float) * stride * static_cast<std::size_t>(height_)));
        std::memset(ring, 0, sizeof(float) * stride * static_cast<std::size_t>(height_));
        std::uint8_t* line = Canvas::in(scratch.b, window.width + 2 * reach, 1).rgb;
        std::vector<const float*> rows(static_cast<std::size_t>(height_));
        const auto fill = [&](int slot, int y) {
            const int row = mirror_without_edge(y, in.whole.height);
            continue_row(in, in.at(in.held.x, row), window.x, window.width, reach, mirror_without_edge, line);
            float* to = ring + stride * static_cast<std::size_t>(slot);
            for (int i = 0; i < count; i++) to[i] = line[i];
        };
        for (int k = 0; k + 1 < height_; k++) fill(k, window.y - height_ / 2 + k);
        for (int y = 0; y < window.height; y++) {
            fill((y + height_ - 1) % height_, window.y + y + height_ / 2);
            for (int k = 0; k < height_; k++)
                rows[static_cast<std::size_t>(k)] =
                    ring + stride * static_cast<std::size_t>((y + k) % height_);
            (vectors() ? torch_vector : torch_plain)(rows.data(), kernel_.data(), width_, height_,
                                                     3 * window.width, out.row(y));
        }
    }

  private:
    std::vector<float> kernel_;
    int width_, height_;
};

}  // namespace

std::shared_ptr<const Step> cv2_blur_step(std::vector<int> across, std::vector<int> down) {
    return std::make_shared<Cv2Blur>(across, down);
}

std::shared_ptr<const Step> torch_blur_step(std::vector<float> kernel, int width, int height) {
    return std::make_shared<TorchBlur>(std::move(kernel), width, height);
}

}  // namespace gs::transform
