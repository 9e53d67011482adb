// What a transform of images is made of: a step, which computes any window of its output from the part of its
// input that the window needs.
//
// Planning backwards. A list of steps is a function from an image to an image. A training sample is a small
// window of the last image, so computing the images in between whole would be waste. Every step therefore
// answers three questions, all of them without pixels:
//   size(in)           how large the whole output is, given the size of the whole input;
//   needs(in, window)  which rectangle of the input determines `window` of the output;
//   run(...)           the pixels of `window`, from exactly that rectangle.
// run_steps (run.hpp) asks for the sizes from the first step to the last, for the rectangles from the last to
// the first, and then runs. The result is equal, bit for bit, to computing everything whole and cutting the
// window out at the end; the tests compare the two. The first rectangle is the part of the file to decode.
//
// A step holds the values that were drawn for one sample (a quality, a corner): it is deterministic and
// immutable, and one object may be used by many threads at once. Chance belongs to the caller.
//
// Images are 8-bit RGB, interleaved. Coordinates always count in the whole image, never in the part at hand.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/buffer.hpp"
#include "base/types.hpp"

namespace gs::transform {

struct Size {
    int width = 0;
    int height = 0;
};

inline Rect all_of(Size size) {
    return {0, 0, size.width, size.height};
}

// Vector code may read and write up to this many bytes beyond the end of a row: rows of a Canvas lie further
// apart than that, and the last one is followed by as much room.
constexpr int kRowSlack = 96;

// The rectangle `held` of an image of size `whole`.
struct Part {
    Size whole;
    Rect held;
    const std::uint8_t* rgb = nullptr;  // of the upper left pixel of `held`
    std::ptrdiff_t stride = 0;          // in bytes, from row to row

    // The pixel (x, y) of the whole image, which lies in `held`.
    const std::uint8_t* at(int x, int y) const { return rgb + (y - held.y) * stride + 3 * (x - held.x); }
};

// Memory for the pixels of a rectangle.
struct Canvas {
    std::uint8_t* rgb = nullptr;
    std::ptrdiff_t stride = 0;

    std::uint8_t* row(int y) const { return rgb + y * stride; }  // counted from the rectangle's first row

    static std::ptrdiff_t stride_of(int width) {
        return (std::ptrdiff_t{3} * width + kRowSlack + 63) / 64 * 64;
    }
    static Canvas in(Buffer& buffer, int width, int height) {
        const std::ptrdiff_t stride = stride_of(width);
        return {buffer.reserve(static_cast<std::size_t>(stride) * static_cast<std::size_t>(height)), stride};
    }
};

// Memory that a thread keeps from step to step and from image to image. A step may use all of it.
struct Scratch {
    Buffer a, b, c, d, e;
};

// Takes the rows of a step's input one after the other, then gives the window's pixels.
class RowTaker : public RowSink {
  public:
    // One past the last row that came.
    virtual int delivered() const = 0;
    virtual void finish(const Canvas& out) = 0;
};

class Step {
  public:
    Step() = default;
    virtual ~Step() = default;
    Step(const Step&) = delete;
    Step& operator=(const Step&) = delete;

    // Throws std::invalid_argument when images of that size cannot be transformed.
    virtual Size size(Size in) const { return in; }
    // Never empty. `window` is not empty and lies inside the output.
    virtual Rect needs(Size in, const Rect& window) const = 0;
    // `in.held` is what needs() gave for `window`; the window's pixels go to `out`.
    virtual void run(const Part& in, const Rect& window, const Canvas& out, Scratch& scratch) const = 0;
    // Whether run() touches no byte beyond its rows' ends, so that memory without slack will do for both images.
    virtual bool keeps_to_rows() const { return false; }
    // Whether the window's pixels are those that needs() names, as they are: then run() is not called.
    virtual bool passes(Size in, const Rect& window) const {
        (void)in, (void)window;
        return false;
    }
    // Whether it does nothing but turn rows around, left to right: whoever writes the rows may do so.
    virtual bool only_mirrors() const { return false; }
    // As run(), for rows of `held` as they are decoded: what is made of them stays in the cache. nullptr where the step
    // does not work row by row. The scratch memory is the taker's.
    virtual std::unique_ptr<RowTaker> take_rows(Size in, const Rect& held, const Rect& window,
                                                Scratch& scratch) const {
        (void)in, (void)held, (void)window, (void)scratch;
        return nullptr;
    }
};

// A step whose output pixels depend on the input pixel at the same place alone.
class PointStep : public Step {
  public:
    Rect needs(Size, const Rect& window) const final { return window; }
};

// A step that needs all of its input, whatever is asked for.
class WholeStep : public Step {
  public:
    Rect needs(Size in, const Rect&) const final { return all_of(in); }
};

// The rectangle grown by `x` columns and `y` rows on each side, as far as the image goes.
inline Rect grown(const Rect& rect, int x, int y, Size image) {
    const int left = std::max(rect.x - x, 0), top = std::max(rect.y - y, 0);
    return {left, top, std::min(rect.x + rect.width + x, image.width) - left,
            std::min(rect.y + rect.height + y, image.height) - top};
}

}  // namespace gs::transform
