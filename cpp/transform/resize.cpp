#include "transform/resize.hpp"

#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "transform/nearest.hpp"
#include "transform/resample_rows.hpp"

namespace gs::transform {
namespace {

class FilteredResize final : public Step {
  public:
    FilteredResize(Size to, Filter filter) : to_(to), filter_(filter) {}

    Size size(Size) const override { return to_; }

    Rect needs(Size in, const Rect& w) const override {
        const auto across = span(in.width, to_.width, w.x, w.width);
        const auto down = span(in.height, to_.height, w.y, w.height);
        return {across.first, down.first, across.count, down.count};
    }

    void run(const Part& in, const Rect& w, const Canvas& out, Scratch& scratch) const override {
        Axis across, down;
        plan(across, in.whole.width, to_.width, w.x, w.width, scratch.a);
        plan(down, in.whole.height, to_.height, w.y, w.height, scratch.b);
        const Rect& held = in.held;
        if (across.identity() && down.identity()) return copy(in, w, out);
        if (down.identity())
            return resample_rows_across(across, in.at(held.x, w.y), in.stride, w.height, out);
        if (across.identity()) {
            const std::uint8_t* from = in.at(w.x, held.y);
            for (int y = 0; y < w.height; y++)
                resample_down(down.output(y), from, in.stride, 3 * w.width, out.row(y));
            return;
        }
        if (down_first(in.whole.width, in.whole.height, to_.width, to_.height)) {
            constexpr int kBatch = 4;  // rows that are filtered across together
            const Canvas lines = Canvas::in(scratch.c, held.width, kBatch);
            for (int y = 0; y < w.height; y += kBatch) {
                const int count = std::min(kBatch, w.height - y);
                for (int i = 0; i < count; i++)
                    resample_down(down.output(y + i), in.rgb, in.stride, 3 * held.width, lines.row(i));
                resample_rows_across(across, lines.rgb, lines.stride, count, {out.row(y), out.stride});
            }
            return;
        }
        const Canvas rows = Canvas::in(scratch.c, w.width, held.height);
        resample_rows_across(across, in.rgb, in.stride, held.height, rows);
        for (int y = 0; y < w.height; y++)
            resample_down(down.output(y), rows.rgb, rows.stride, 3 * w.width, out.row(y));
    }

  private:
    // A side that keeps its length keeps its pixels: Pillow leaves the pass out, and no
    // filter's reach counts.
    SourceSpan span(int in_size, int out_size, int first, int count) const {
        if (in_size == out_size) return {first, count};
        return source_span(filter_, in_size, 0.0f, static_cast<float>(in_size), out_size, first, count);
    }
    void plan(Axis& axis, int in_size, int out_size, int first, int count, Buffer& memory) const {
        axis.plan(filter_, in_size, 0.0f, static_cast<float>(in_size), out_size, first, count, memory);
    }
    static void copy(const Part& in, const Rect& w, const Canvas& out) {
        for (int y = 0; y < w.height; y++)
            std::memcpy(out.row(y), in.at(w.x, w.y + y), std::size_t{3} * static_cast<std::size_t>(w.width));
    }

    Size to_;
    Filter filter_;
};

class NearestResize final : public Step {
  public:
    explicit NearestResize(Size to) : to_(to) {}
    bool keeps_to_rows() const override { return true; }

    Size size(Size) const override { return to_; }

    Rect needs(Size in, const Rect& w) const override {
        const auto xs = places(in.width, to_.width, w.x, w.width);
        const auto ys = places(in.height, to_.height, w.y, w.height);
        return {xs.front(), ys.front(), xs.back() - xs.front() + 1, ys.back() - ys.front() + 1};
    }

    void run(const Part& in, const Rect& w, const Canvas& out, Scratch&) const override {
        const auto xs = places(in.whole.width, to_.width, w.x, w.width);
        const auto ys = places(in.whole.height, to_.height, w.y, w.height);
        for (int y = 0; y < w.height; y++) {
            const std::uint8_t* from = in.at(in.held.x, ys[static_cast<std::size_t>(y)]);
            std::uint8_t* to = out.row(y);
            for (int x = 0; x < w.width; x++)
                std::memcpy(to + 3 * x, from + 3 * (xs[static_cast<std::size_t>(x)] - in.held.x), 3);
        }
    }

  private:
    static std::vector<int> places(int in_size, int out_size, int first, int count) {
        return nearest_places(0.0, static_cast<double>(in_size) / out_size, first, count, in_size);
    }

    Size to_;
};

}  // namespace

std::shared_ptr<const Step> resize_step(Size to, std::optional<Filter> filter) {
    if (filter) return std::make_shared<FilteredResize>(to, *filter);
    return std::make_shared<NearestResize>(to);
}

}  // namespace gs::transform
