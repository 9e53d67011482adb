#include "transform/erase.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "transform/noise.hpp"

namespace gs::transform {
namespace {

// `count` values of a plane, from `from`, or zeros where it is nullptr.
void put(std::uint8_t* plane, Element element, std::size_t at, std::size_t count, const float* from) {
    const std::size_t bytes = element_bytes(element);
    std::uint8_t* to = plane + at * bytes;
    if (from == nullptr) {
        std::memset(to, 0, count * bytes);
        return;
    }
    if (element == Element::f32) {
        std::memcpy(to, from, count * bytes);
        return;
    }
    for (std::size_t i = 0; i < count; i++) {
        const std::uint16_t half = to_half(from[i]);
        std::memcpy(to + i * bytes, &half, bytes);
    }
}

class EraseStep final : public FinishingStep {
  public:
    EraseStep(std::vector<Rect> rects, std::optional<PhiloxKey> noise)
        : rects_(std::move(rects)), noise_(noise) {}

    void finish(std::uint8_t* planes, Element element, int width, int height) const override {
        if (element == Element::u8)
            throw std::invalid_argument("a step acts on normalised values, and these are uint8");
        const std::size_t plane = static_cast<std::size_t>(width) * static_cast<std::size_t>(height);
        std::vector<float> normal;
        for (const Rect& rect : rects_) {
            const int left = std::max(rect.x, 0), right = std::min(rect.x + rect.width, width);
            const int top = std::max(rect.y, 0), bottom = std::min(rect.y + rect.height, height);
            if (left >= right) continue;
            const auto count = static_cast<std::size_t>(right - left);
            normal.resize(3 * count);
            for (int y = top; y < bottom; y++) {
                const std::size_t at = static_cast<std::size_t>(y) * static_cast<std::size_t>(width) +
                                       static_cast<std::size_t>(left);
                if (noise_)
                    normal_pixels(*noise_, static_cast<std::uint32_t>(at), static_cast<int>(count),
                                  normal.data());
                for (std::size_t c = 0; c < 3; c++)
                    put(planes + c * plane * element_bytes(element), element, at, count,
                        noise_ ? normal.data() + c * count : nullptr);
            }
        }
    }

  private:
    const std::vector<Rect> rects_;
    const std::optional<PhiloxKey> noise_;
};

}  // namespace

std::shared_ptr<const FinishingStep> erase_step(std::vector<Rect> rects, std::optional<PhiloxKey> noise) {
    return std::make_shared<EraseStep>(std::move(rects), noise);
}

}  // namespace gs::transform
