#include "transform/patches.hpp"

#include <cstdlib>
#include <cstring>
#include <numeric>
#include <stdexcept>

namespace gs::transform {
namespace {

class FillStep final : public PointStep {
  public:
    FillStep(std::vector<Rect> rects, const std::array<std::uint8_t, 3>& colour)
        : rects_(std::move(rects)), colour_(colour) {}

    void run(const Part& in, const Rect& w, const Canvas& out, Scratch&) const override {
        for (int y = 0; y < w.height; y++)
            std::memcpy(out.row(y), in.at(w.x, w.y + y), std::size_t{3} * static_cast<std::size_t>(w.width));
        for (const Rect& rect : rects_) {
            const int left = std::max(rect.x - w.x, 0), right = std::min(rect.x + rect.width - w.x, w.width);
            const int top = std::max(rect.y - w.y, 0),
                      bottom = std::min(rect.y + rect.height - w.y, w.height);
            for (int y = top; y < bottom; y++)
                for (int x = left; x < right; x++) std::memcpy(out.row(y) + 3 * x, colour_.data(), 3);
        }
    }

  private:
    std::vector<Rect> rects_;
    std::array<std::uint8_t, 3> colour_;
};

class TextureStep final : public WholeStep {
  public:
    TextureStep(std::vector<Corner> corners, int side, std::vector<int> chosen, int columns)
        : corners_(std::move(corners)), side_(side), chosen_(std::move(chosen)), columns_(columns) {}

    Size size(Size in) const override {
        for (const Corner& corner : corners_)
            if (corner.x < 0 || corner.y < 0 || corner.x > in.width - side_ || corner.y > in.height - side_)
                throw std::invalid_argument("a patch is not inside the image of " + std::to_string(in.width) +
                                            "x" + std::to_string(in.height));
        return {columns_ * side_, static_cast<int>(chosen_.size()) / columns_ * side_};
    }

    void run(const Part& in, const Rect& w, const Canvas& out, Scratch&) const override {
        std::vector<std::int64_t> texture;
        for (const Corner& corner : corners_) texture.push_back(texture_of(in, corner));
        std::vector<int> order(corners_.size());
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
            return texture[static_cast<std::size_t>(a)] < texture[static_cast<std::size_t>(b)];
        });
        for (int y = 0; y < w.height; y++)
            for (int x = 0; x < w.width;) {
                const int at_x = w.x + x, at_y = w.y + y;
                const int tile = at_y / side_ * columns_ + at_x / side_;
                const int patch = order[static_cast<std::size_t>(chosen_[static_cast<std::size_t>(tile)])];
                const Corner& corner = corners_[static_cast<std::size_t>(patch)];
                const int run = std::min(side_ - at_x % side_, w.width - x);
                std::memcpy(out.row(y) + 3 * x, in.at(corner.x + at_x % side_, corner.y + at_y % side_),
                            std::size_t{3} * static_cast<std::size_t>(run));
                x += run;
            }
    }

  private:
    std::int64_t texture_of(const Part& in, const Corner& corner) const {
        std::int64_t sum = 0;
        const auto add = [&](const std::uint8_t* a, const std::uint8_t* b, int pixels) {
            int total = 0;
            for (int i = 0; i < 3 * pixels; i++) total += std::abs(a[i] - b[i]);
            sum += total;
        };
        for (int y = 0; y < side_; y++) {
            const std::uint8_t* row = in.at(corner.x, corner.y + y);
            add(row, row + 3, side_ - 1);
            if (y + 1 == side_) break;
            const std::uint8_t* below = row + in.stride;
            add(row, below, side_);
            add(row, below + 3, side_ - 1);
            add(row + 3, below, side_ - 1);
        }
        return sum;
    }

    std::vector<Corner> corners_;
    int side_;
    std::vector<int> chosen_;
    int columns_;
};

}  // namespace

std::shared_ptr<const Step> fill_step(std::vector<Rect> rects, const std::array<std::uint8_t, 3>& colour) {
    return std::make_shared<FillStep>(std::move(rects), colour);
}

std::shared_ptr<const Step> texture_step(std::vector<Corner> corners, int side, std::vector<int> chosen,
                                         int columns) {
    return std::make_shared<TextureStep>(std::move(corners), side, std::move(chosen), columns);
}

}  // namespace gs::transform
