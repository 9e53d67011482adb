#include "transform/geometry.hpp"

#include <cstring>
#include <vector>

#include "rows/reorder.hpp"

namespace gs::transform {
namespace {

// The place 0 .. size - 1 whose pixel is repeated at place i of the padded side, or -1 for a zero.
int source_of(int i, int size, Padding padding) {
    if (i >= 0 && i < size) return i;
    const auto modulo = [](int a, int period) { return (a % period + period) % period; };
    switch (padding) {
        case Padding::zeros:
            return -1;
        case Padding::edge:
            return i < 0 ? 0 : size - 1;
        case Padding::tile:
            return modulo(i, size);
        case Padding::symmetric: {
            const int at = modulo(i, 2 * size);
            return at < size ? at : 2 * size - 1 - at;
        }
        case Padding::reflect: {
            if (size == 1) return 0;
            const int at = modulo(i, 2 * size - 2);
            return at < size ? at : 2 * size - 2 - at;
        }
    }
    return -1;
}

class CropStep final : public Step {
  public:
    CropStep(const Rect& window, Padding padding) : at_(window), padding_(padding) {}
    bool keeps_to_rows() const override { return true; }

    Size size(Size) const override { return {at_.width, at_.height}; }

    Rect needs(Size in, const Rect& window) const override {
        const auto [x, width] = span(at_.x + window.x, window.width, in.width);
        const auto [y, height] = span(at_.y + window.y, window.height, in.height);
        return {x, y, width, height};
    }

    void run(const Part& in, const Rect& window, const Canvas& out, Scratch&) const override {
        const int left = at_.x + window.x;
        // Columns inside .. inside_end of the window are copied from the image as they are.
        const int inside = std::clamp(-left, 0, window.width);
        const int inside_end = std::clamp(in.whole.width - left, inside, window.width);
        for (int y = 0; y < window.height; y++) {
            std::uint8_t* to = out.row(y);
            const int row = source_of(at_.y + window.y + y, in.whole.height, padding_);
            if (row < 0) {
                std::memset(to, 0, std::size_t{3} * static_cast<std::size_t>(window.width));
                continue;
            }
            if (inside_end > inside)
                std::memcpy(to + 3 * inside, in.at(left + inside, row),
                            std::size_t{3} * static_cast<std::size_t>(inside_end - inside));
            const auto outside = [&](int begin, int end) {
                if (padding_ == Padding::zeros) {
                    std::memset(to + 3 * begin, 0, std::size_t{3} * static_cast<std::size_t>(end - begin));
                    return;
                }
                for (int x = begin; x < end; x++) {
                    const int column = source_of(left + x, in.whole.width, padding_);
                    // A tile's pixels follow each other as far as the image goes.
                    const int run =
                        padding_ == Padding::tile ? std::min(end - x, in.whole.width - column) : 1;
                    std::memcpy(to + 3 * x, in.at(column, row),
                                std::size_t{3} * static_cast<std::size_t>(run));
                    x += run - 1;
                }
            };
            outside(0, inside);
            outside(inside_end, window.width);
        }
    }

    bool passes(Size in, const Rect& window) const override {
        const int x = at_.x + window.x, y = at_.y + window.y;
        return x >= 0 && y >= 0 && x + window.width <= in.width && y + window.height <= in.height;
    }

  private:
    struct Span {
        int first, count;
    };
    Span span(int first, int count, int size) const {
        int lowest = size, highest = -1;
        for (int i = first; i < first + count; i++) {
            const int at = source_of(i, size, padding_);
            if (at < 0) continue;
            lowest = std::min(lowest, at);
            highest = std::max(highest, at);
        }
        if (highest < 0) return {0, 1};  // zeros alone; a rectangle is never empty
        return {lowest, highest - lowest + 1};
    }

    Rect at_;
    Padding padding_;
};

class FlipStep final : public Step {
  public:
    FlipStep(bool across, bool down) : across_(across), down_(down) {}
    bool keeps_to_rows() const override { return true; }
    bool only_mirrors() const override { return across_ && !down_; }

    Rect needs(Size in, const Rect& window) const override {
        Rect rect = window;
        if (across_) rect.x = in.width - window.x - window.width;
        if (down_) rect.y = in.height - window.y - window.height;
        return rect;
    }

    void run(const Part& in, const Rect& window, const Canvas& out, Scratch&) const override {
        for (int y = 0; y < window.height; y++) {
            const int row = down_ ? window.height - 1 - y : y;
            const std::uint8_t* from = in.rgb + row * in.stride;
            if (across_)
                reverse_row(from, window.width, out.row(y));
            else
                std::memcpy(out.row(y), from, std::size_t{3} * static_cast<std::size_t>(window.width));
        }
    }

  private:
    bool across_, down_;
};

class QuarterTurnsStep final : public Step {
  public:
    explicit QuarterTurnsStep(int turns) : turns_(turns & 3) {}
    bool keeps_to_rows() const override { return true; }

    Size size(Size in) const override { return turns_ % 2 ? Size{in.height, in.width} : in; }

    Rect needs(Size in, const Rect& w) const override {
        switch (turns_) {
            case 1:  // the first output row is the last input column
                return {in.width - w.y - w.height, w.x, w.height, w.width};
            case 2:
                return {in.width - w.x - w.width, in.height - w.y - w.height, w.width, w.height};
            case 3:  // the first output row is the first input column, read upwards
                return {w.y, in.height - w.x - w.width, w.height, w.width};
            default:
                return w;
        }
    }

    void run(const Part& in, const Rect& w, const Canvas& out, Scratch&) const override {
        // Where the output's upper left pixel lies in the part, and the steps to the pixel right of
        // it and below.
        const std::ptrdiff_t last_x = 3 * (std::ptrdiff_t{in.held.width} - 1);
        const std::ptrdiff_t last_y = in.stride * (std::ptrdiff_t{in.held.height} - 1);
        const std::uint8_t* first = in.rgb;
        std::ptrdiff_t right = 3, below = in.stride;
        if (turns_ == 1) first += last_x, right = in.stride, below = -3;
        if (turns_ == 2) first += last_x + last_y, right = -3, below = -in.stride;
        if (turns_ == 3) first += last_y, right = -in.stride, below = 3;
        for (int y = 0; y < w.height; y++) {
            const std::uint8_t* from = first + y * below;
            std::uint8_t* to = out.row(y);
            for (int x = 0; x < w.width; x++, from += right, to += 3) std::memcpy(to, from, 3);
        }
    }

  private:
    int turns_;
};

}  // namespace

std::shared_ptr<const Step> crop_step(const Rect& window, Padding padding) {
    return std::make_shared<CropStep>(window, padding);
}

std::shared_ptr<const Step> flip_step(bool across, bool down) {
    return std::make_shared<FlipStep>(across, down);
}

std::shared_ptr<const Step> quarter_turns_step(int turns) {
    return std::make_shared<QuarterTurnsStep>(turns);
}

}  // namespace gs::transform
