// Random steps of transforms, made from parameters. Each is drawn in a statement of its own or in braces: compilers
// differ in which argument of a function they evaluate first.
#pragma once

#include <array>
#include <cmath>
#include <memory>

#include "lossy/jpeg.hpp"
#include "lossy/webp.hpp"
#include "support.hpp"
#include "transform/blur.hpp"
#include "transform/colour.hpp"
#include "transform/erase.hpp"
#include "transform/geometry.hpp"
#include "transform/noise.hpp"
#include "transform/patches.hpp"
#include "transform/resize.hpp"
#include "transform/run.hpp"

namespace fuzz {

using namespace gs::transform;
using Made = std::shared_ptr<const Step>;

constexpr int kLargest = 48;  // pixels either way

inline double real(Parameters& p, double low, double high) {
    return low + (high - low) * p.word() / 65535.0;
}

// As the Python face makes them; a kernel's own values matter little, its length does.
inline Made blur(Parameters& p) {
    const int radius = p.between(0, 12);
    const double sigma = real(p, 0.05, 4);
    std::vector<double> half;
    double sum = 0;
    for (int i = 0; i <= radius; i++) {
        half.push_back(std::exp(-0.5 * i * i / (sigma * sigma)));
        sum += half.back() * (i ? 2 : 1);
    }
    for (double& weight : half) weight /= sum;
    const int kind = p.between(0, 2);
    if (kind == 0) return scipy_blur_step(half);
    if (kind == 1) {
        std::vector<int> fixed(static_cast<std::size_t>(2 * radius + 1));
        int left = 256;
        for (int i = radius; i > 0; i--) {
            const int weight = static_cast<int>(half[static_cast<std::size_t>(i)] * 256);
            fixed[static_cast<std::size_t>(radius - i)] = fixed[static_cast<std::size_t>(radius + i)] =
                weight;
            left -= 2 * weight;
        }
        fixed[static_cast<std::size_t>(radius)] = left;
        return cv2_blur_step(fixed, fixed);
    }
    const int width = 2 * p.between(0, 6) + 1, height = 2 * p.between(0, 6) + 1;
    const int count = width * height;
    return torch_blur_step(
        std::vector<float>(static_cast<std::size_t>(count), 1.0f / static_cast<float>(count)), width, height);
}

inline Made patches(Parameters& p, Size in) {
    const int side = p.between(1, std::min({in.width, in.height, 16})), columns = p.between(1, 3);
    std::vector<Corner> corners;
    for (int i = p.between(1, 12); i > 0; i--)
        corners.push_back({p.between(0, in.width - side), p.between(0, in.height - side)});
    std::vector<int> chosen;
    for (int i = columns * p.between(1, 2); i > 0; i--)
        chosen.push_back(p.between(0, static_cast<int>(corners.size()) - 1));
    return texture_step(std::move(corners), side, std::move(chosen), columns);
}

inline std::vector<gs::Rect> rectangles(Parameters& p) {
    std::vector<gs::Rect> found;
    for (int i = p.between(0, 4); i > 0; i--)
        found.push_back({p.between(0, 2 * kLargest) - kLargest, p.between(0, 2 * kLargest) - kLargest,
                         p.between(0, 2 * kLargest), p.between(0, 2 * kLargest)});
    return found;
}

inline Made any_step(Parameters& p, Size in) {
    switch (p.between(0, 17)) {
        case 0: {
            const auto padding = static_cast<Padding>(p.between(0, 4));
            return crop_step({p.between(0, 200) - 100, p.between(0, 200) - 100, p.between(1, kLargest),
                              p.between(1, kLargest)},
                             padding);
        }
        case 1: {
            const int ways = p.byte();
            return flip_step(ways & 1, ways & 2);
        }
        case 2:
            return quarter_turns_step(p.between(0, 3));
        case 3: {
            std::array<double, 6> matrix{};
            for (const std::size_t i : {0u, 1u, 3u, 4u}) matrix[i] = real(p, -2, 2);
            matrix[2] = real(p, -100, 100);
            matrix[5] = real(p, -100, 100);
            return affine_step(matrix);
        }
        case 4: {
            const Size to{p.between(1, kLargest), p.between(1, kLargest)};
            const int filter = p.between(0, 5);
            return resize_step(to,
                               filter == 5 ? std::nullopt : std::optional<gs::Filter>(gs::Filter(filter)));
        }
        case 5:
            return resize_linear_step({p.between(1, kLargest), p.between(1, kLargest)});
        case 6: {
            const bool swapped = p.byte() & 1;
            const auto chroma = static_cast<Chroma>(p.between(0, 2));
            return jpeg_step(p.between(1, 100), chroma, swapped);
        }
        case 7:
            return webp_step(p.between(0, 100));
        case 8:
        case 9:
            return blur(p);
        case 10:
            return gray_step(p.byte() & 1 ? Gray::opencv : Gray::pillow);
        case 11: {
            const auto factor = static_cast<float>(real(p, -11, 11));
            return linear_step(factor, static_cast<float>(real(p, -2600, 2600)));
        }
        case 12:
            return brightness_step(real(p, 0, 3));
        case 13:
            return p.byte() & 1 ? contrast_step(real(p, 0, 3)) : saturation_step(real(p, 0, 3));
        case 14:
            return hue_step(static_cast<std::uint8_t>(p.byte()));
        case 15: {
            const auto low = static_cast<std::uint32_t>(p.word()),
                       high = static_cast<std::uint32_t>(p.word());
            const auto offset = static_cast<float>(real(p, -50, 50));
            return noise_step({low, high}, offset, static_cast<float>(real(p, 0, 60)));
        }
        case 16:
            return fill_step(rectangles(p), {1, 2, 3});
        default:
            return patches(p, in);
    }
}

}  // namespace fuzz
