#include "transform/resize.hpp"

#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "transform/nearest.hpp"
#include "transform/resample_rows.hpp"

namespace gs::transform {
namespace {

// The first pass while rows come in, four at a time, and then the second.
class AcrossThenDown final : public RowTaker {
  public:
    AcrossThenDown(const Axis& across, const Axis& down, const Rect& held, Scratch& scratch)
        : across_(across),
          down_(down),
          row_bytes_(std::size_t{3} * static_cast<std::size_t>(held.width)),
          rows_(Canvas::in(scratch.c, across.outputs(), held.height)),
          waiting_(Canvas::in(scratch.e, held.width, kRowsAcross)) {
        rows_across_.plan(across_, scratch.d);
    }
    AcrossThenDown(const AcrossThenDown&) = delete;
    AcrossThenDown& operator=(const AcrossThenDown&) = delete;

    void rows(int first, int count, const std::uint8_t* rgb, std::ptrdiff_t stride) noexcept override {
        if (first != first_ + count_) {
            flush();
            first_ = first;
        }
        for (int i = 0; i < count;) {
            // Where another row follows, bytes beyond these rows' ends may be read, and nothing has to be copied.
            if (count_ == 0 && count - i > kRowsAcross && stride >= kRowSlack) {
                rows_across_.run(rgb + i * stride, stride, kRowsAcross, {rows_.row(first_), rows_.stride});
                first_ += kRowsAcross;
                i += kRowsAcross;
                continue;
            }
            std::memcpy(waiting_.row(count_++), rgb + i++ * stride, row_bytes_);
            if (count_ == kRowsAcross) flush();
        }
        delivered_ = std::max(delivered_, first + count);
    }
    int delivered() const override { return delivered_; }

    void finish(const Canvas& out) override {
        flush();
        for (int y = 0; y < down_.outputs(); y++)
            resample_down(down_.output(y), rows_.rgb, rows_.stride, 3 * across_.outputs(), out.row(y));
    }

  private:
    void flush() {
        if (count_ > 0)
            rows_across_.run(waiting_.rgb, waiting_.stride, count_, {rows_.row(first_), rows_.stride});
        first_ += count_;
        count_ = 0;
    }

    const Axis across_, down_;
    const std::size_t row_bytes_;
    const Canvas rows_, waiting_;
    RowsAcross rows_across_;
    int first_ = 0, count_ = 0;  // of the rows that wait
    int delivered_ = 0;
};

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
        if (across.identity()) {
            const std::uint8_t* from = in.at(w.x, held.y);
            for (int y = 0; y < w.height; y++)
                resample_down(down.output(y), from, in.stride, 3 * w.width, out.row(y));
            return;
        }
        RowsAcross rows_across;
        rows_across.plan(across, scratch.d);
        if (down.identity()) return rows_across.run(in.at(held.x, w.y), in.stride, w.height, out);
        if (down_first(in.whole.width, in.whole.height, to_.width, to_.height)) {
            const Canvas lines = Canvas::in(scratch.c, held.width, kRowsAcross);
            for (int y = 0; y < w.height; y += kRowsAcross) {
                const int count = std::min(kRowsAcross, w.height - y);
                for (int i = 0; i < count; i++)
                    resample_down(down.output(y + i), in.rgb, in.stride, 3 * held.width, lines.row(i));
                rows_across.run(lines.rgb, lines.stride, count, {out.row(y), out.stride});
            }
            return;
        }
        const Canvas rows = Canvas::in(scratch.c, w.width, held.height);
        rows_across.run(in.rgb, in.stride, held.height, rows);
        for (int y = 0; y < w.height; y++)
            resample_down(down.output(y), rows.rgb, rows.stride, 3 * w.width, out.row(y));
    }

    std::unique_ptr<RowTaker> take_rows(Size in, const Rect& held, const Rect& w,
                                        Scratch& scratch) const override {
        Axis across, down;
        plan(across, in.width, to_.width, w.x, w.width, scratch.a);
        plan(down, in.height, to_.height, w.y, w.height, scratch.b);
        if (across.identity() || down.identity() || down_first(in.width, in.height, to_.width, to_.height))
            return nullptr;
        return std::make_unique<AcrossThenDown>(across, down, held, scratch);
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
