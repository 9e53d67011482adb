// OpenCV's and torchvision's Gaussian blur on 8-bit images, bit for bit.
//
// Loops that the compiler vectorises: each stands once and is compiled for processors with AVX2 and for all
// others.
#include <cmath>
#include <cstring>

#include "base/cpu.hpp"
#include "transform/blur.hpp"
#include "transform/edges.hpp"

#if defined(__x86_64__)
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
    return simd_level() == Simd::avx2;
}

// sums[i] = or += weight * bytes[i]. Sums of OpenCV's kernels stay below 2^16.
GS_LOOP void add_bytes_loop(const std::uint8_t* bytes, int weight, int count, bool first,
                            std::uint16_t* sums) {
    const auto w = static_cast<std::uint16_t>(weight);
    if (first)
        for (int i = 0; i < count; i++) sums[i] = static_cast<std::uint16_t>(w * bytes[i]);
    else
        for (int i = 0; i < count; i++) sums[i] = static_cast<std::uint16_t>(sums[i] + w * bytes[i]);
}
GS_VECTOR void add_bytes_vector(const std::uint8_t* bytes, int weight, int count, bool first,
                                std::uint16_t* sums) {
    add_bytes_loop(bytes, weight, count, first, sums);
}
void add_bytes_plain(const std::uint8_t* bytes, int weight, int count, bool first, std::uint16_t* sums) {
    add_bytes_loop(bytes, weight, count, first, sums);
}

// bytes[i] = the rounded sum over taps of weights[k] * sums[i + 3 k] / 2^16, in blocks that stay in
// registers.
GS_LOOP void across_loop(const std::uint16_t* sums, const int* weights, int taps, int count,
                         std::uint8_t* bytes) {
    constexpr int kBlock = 32;
    for (int at = 0; at < count; at += kBlock) {
        std::uint32_t total[kBlock];
        for (int i = 0; i < kBlock; i++) total[i] = 1u << 15;
        for (int k = 0; k < taps; k++) {
            const auto w = static_cast<std::uint32_t>(weights[k]);
            const std::uint16_t* from = sums + at + 3 * k;
            for (int i = 0; i < kBlock; i++) total[i] += w * from[i];
        }
        for (int i = 0; i < kBlock; i++) bytes[at + i] = static_cast<std::uint8_t>(total[i] >> 16);
    }
}
GS_VECTOR void across_vector(const std::uint16_t* sums, const int* weights, int taps, int count,
                             std::uint8_t* bytes) {
    across_loop(sums, weights, taps, count, bytes);
}
void across_plain(const std::uint16_t* sums, const int* weights, int taps, int count, std::uint8_t* bytes) {
    across_loop(sums, weights, taps, count, bytes);
}

class Cv2Blur final : public Step {
  public:
    Cv2Blur(std::vector<int> across, std::vector<int> down)
        : across_(std::move(across)), down_(std::move(down)) {}

    Rect needs(Size in, const Rect& window) const override {
        return reach_of(in, window, reach(across_), reach(down_), mirror_without_edge);
    }

    void run(const Part& in, const Rect& window, const Canvas& out, Scratch& scratch) const override {
        const int x_reach = reach(across_), y_reach = reach(down_);
        const int count = 3 * (window.width + 2 * x_reach), slack = 64;
        auto* sums = reinterpret_cast<std::uint16_t*>(
            scratch.a.reserve(sizeof(std::uint16_t) * static_cast<std::size_t>(count + slack)));
        std::memset(sums + count, 0, sizeof(std::uint16_t) * static_cast<std::size_t>(slack));
        std::uint8_t* line = Canvas::in(scratch.b, window.width + 2 * x_reach, 1).rgb;
        const bool fast = vectors();
        for (int y = 0; y < window.height; y++) {
            for (int k = 0; k < static_cast<int>(down_.size()); k++) {
                const int row = mirror_without_edge(window.y + y + k - y_reach, in.whole.height);
                continue_row(in, in.at(in.held.x, row), window.x, window.width, x_reach, mirror_without_edge,
                             line);
                const int weight = down_[static_cast<std::size_t>(k)];
                (fast ? add_bytes_vector : add_bytes_plain)(line, weight, count, k == 0, sums);
            }
            (fast ? across_vector : across_plain)(sums, across_.data(), static_cast<int>(across_.size()),
                                                  3 * window.width, out.row(y));
        }
    }

  private:
    static int reach(const std::vector<int>& kernel) { return static_cast<int>(kernel.size()) / 2; }

    std::vector<int> across_, down_;
};

// sums[i] = fma(weight, bytes[i], sums[i]) for one tap at a time would store sums again and again; a block of
// outputs goes through all taps instead. `rows[k]` is the window's row for kernel row k, continued on the
// left by the reach.
GS_LOOP void torch_loop(const float* const* rows, const float* kernel, int kernel_width, int kernel_height,
                        int count, std::uint8_t* bytes) {
    constexpr int kBlock = 32;
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
        // The rows that one output row needs, as floats, in a ring: row y of the image is in slot y modulo
        // height.
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
    return std::make_shared<Cv2Blur>(std::move(across), std::move(down));
}

std::shared_ptr<const Step> torch_blur_step(std::vector<float> kernel, int width, int height) {
    return std::make_shared<TorchBlur>(std::move(kernel), width, height);
}

}  // namespace gs::transform
