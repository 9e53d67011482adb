#include "lossy/jpeg.hpp"

#include <cstring>

#include "jpeg/jpeg_scan.hpp"
#include "lossy/jpeg_blocks.hpp"
#include "rows/reorder.hpp"

namespace gs::transform {
namespace {

constexpr int kMargin = 32;  // bytes before a row of samples; the first one's neighbour is there

int up(int value, int multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

// One component's samples.
struct Plane {
    std::uint8_t* origin = nullptr;
    std::ptrdiff_t stride = 0;
    int width = 0;  // samples of the image; more follow to fill the blocks
    int height = 0;

    std::uint8_t* row(int y) const { return origin + y * stride; }
    int padded_width() const { return up(width, 16); }
    int padded_height() const { return up(height, 8); }
    std::size_t bytes() const {
        return static_cast<std::size_t>(stride) * static_cast<std::size_t>(padded_height()) + kMargin;
    }

    Plane(int samples, int lines) : width(samples), height(lines) { stride = up(width, 32) + kMargin + 64; }
};

class JpegStep final : public Step {
  public:
    JpegStep(int quality, Chroma chroma, bool swapped)
        : luma_(false, quality),
          chroma_(true, quality),
          h_(chroma == Chroma::c444 ? 1 : 2),
          v_(chroma == Chroma::c420 ? 2 : 1),
          swapped_(swapped) {}

    // Upsampling looks one chroma sample further; blocks are whole.
    Rect needs(Size in, const Rect& window) const override {
        const Rect reach = grown(window, h_ == 2 ? 2 : 0, v_ == 2 ? 2 : 0, in);
        const int left = reach.x / (8 * h_) * (8 * h_), top = reach.y / (8 * v_) * (8 * v_);
        return {left, top, std::min(up(reach.x + reach.width, 8 * h_), in.width) - left,
                std::min(up(reach.y + reach.height, 8 * v_), in.height) - top};
    }

    void run(const Part& in, const Rect& window, const Canvas& out, Scratch& scratch) const override {
        const BlockKernels& kernels = block_kernels();
        Plane y(in.held.width, in.held.height);
        Plane cb((y.width + h_ - 1) / h_, (y.height + v_ - 1) / v_), cr = cb;
        y.origin = scratch.a.reserve(y.bytes()) + kMargin;
        cb.origin = scratch.b.reserve(cb.bytes() + cr.bytes()) + kMargin;
        cr.origin = cb.origin + cb.bytes();
        // One row of MCUs after the other, there and back, while its samples are in the cache. The last pixel row of
        // one waits for the chroma below it.
        const int top = window.y - in.held.y;
        int emitted = 0;
        for (int first = 0; first < cb.height; first += 8) {
            const bool last = first + 8 >= cb.height;
            forward(in, kernels, first, y, cb, cr, scratch.c);
            for (int row = v_ * first; row < std::min(v_ * (first + 8), y.padded_height()); row += 8)
                kernels.round_trip(y.row(row), y.stride, y.padded_width() / 16, luma_);
            for (const Plane& plane : {cb, cr}) {
                kernels.round_trip(plane.row(first), plane.stride, plane.padded_width() / 16, chroma_);
                for (int row = first; row < std::min(first + 8, plane.height); row++) {
                    std::uint8_t* samples = plane.row(row);  // neighbours of the first and last samples
                    samples[-1] = samples[0];
                    samples[plane.width] = samples[plane.width - 1];
                }
            }
            const int ready =
                last ? window.height : std::min(v_ * (first + 8) - (v_ - 1) - top, window.height);
            if (ready > emitted) back(in, y, cb, cr, window, emitted, ready, out, scratch.d);
            emitted = std::max(emitted, ready);
        }
    }

  private:
    // Pixels to samples, for eight rows of chroma from `first` on. Blocks that reach beyond the image are filled
    // by repeating the last column before, the last row after chroma is downsampled.
    void forward(const Part& in, const BlockKernels& kernels, int first, const Plane& y, const Plane& cb,
                 const Plane& cr, Buffer& memory) const {
        const int width = y.width, full = up(cb.padded_width() * h_, 32);
        const std::size_t line = static_cast<std::size_t>(full) + 64;
        // Full-size chroma of two rows, and a row of pixels with channels exchanged.
        std::uint8_t* at = memory.reserve(4 * line + 3 * static_cast<std::size_t>(width) + 2 * kRowSlack);
        std::uint8_t *cb_line[2] = {at, at + line}, *cr_line[2] = {at + 2 * line, at + 3 * line};
        std::uint8_t* pixels = at + 4 * line;
        const auto convert = [&](int row, int slot) {
            const std::uint8_t* rgb = in.rgb + row * in.stride;
            if (swapped_) {
                swap_red_and_blue(rgb, width, pixels);
                rgb = pixels;
            }
            std::uint8_t* luma = y.row(row);
            kernels.rgb_to_ycc(rgb, width, luma, cb_line[slot], cr_line[slot]);
            std::memset(luma + width, luma[width - 1], static_cast<std::size_t>(y.padded_width() - width));
            for (std::uint8_t* chroma : {cb_line[slot], cr_line[slot]})
                std::memset(chroma + width, chroma[width - 1], static_cast<std::size_t>(full - width));
        };
        for (int row = first; row < std::min(first + 8, cb.height); row++) {
            convert(v_ * row, 0);
            int second = 0;
            if (v_ == 2 && 2 * row + 1 < y.height) convert(2 * row + 1, second = 1);
            for (const bool red : {false, true}) {
                std::uint8_t* const* from = red ? cr_line : cb_line;
                const Plane& to = red ? cr : cb;
                if (v_ == 2)
                    kernels.halve_h2v2(from[0], from[second], to.padded_width(), to.row(row));
                else if (h_ == 2)
                    kernels.halve_h2(from[0], to.padded_width(), to.row(row));
                else
                    std::memcpy(to.row(row), from[0], static_cast<std::size_t>(to.padded_width()));
            }
        }
        if (first + 8 < cb.height) return;
        for (const Plane& plane : {y, cb, cr})
            for (int row = plane.height; row < plane.padded_height(); row++)
                std::memcpy(plane.row(row), plane.row(plane.height - 1),
                            static_cast<std::size_t>(plane.padded_width()));
    }

    // Samples to the window's pixels, rows begin .. end - 1.
    void back(const Part& in, const Plane& y, const Plane& cb, const Plane& cr, const Rect& window, int begin,
              int end, const Canvas& out, Buffer& memory) const {
        const jpeg::Kernels* vector = jpeg::vector_kernels();
        const jpeg::Kernels& kernels = vector ? *vector : jpeg::kPlainKernels;
        const int left = window.x - in.held.x, top = window.y - in.held.y;
        const int first = left / h_, count = (left + window.width - 1) / h_ - first + 1;
        // libjpeg's triangle filter wants more than two chroma samples in a row of the image.
        const bool smooth = (in.whole.width + h_ - 1) / h_ > 2;
        const std::size_t line = static_cast<std::size_t>(2 * count) + 64;
        std::uint8_t* lines = memory.reserve(2 * line);
        const auto chroma_row = [&](const Plane& plane, int row,
                                    std::uint8_t* line_memory) -> const std::uint8_t* {
            const int near = row / v_;
            const std::uint8_t* samples = plane.row(near) + first;
            if (h_ == 1) return samples;
            if (!smooth) {
                for (int i = 0; i < count; i++) line_memory[2 * i] = line_memory[2 * i + 1] = samples[i];
            } else if (v_ == 1) {
                kernels.upsample_h2(samples, count, line_memory);
            } else {
                const int far = std::clamp(row % 2 ? near + 1 : near - 1, 0, plane.height - 1);
                kernels.upsample_h2v2(samples, plane.row(far) + first, count, line_memory);
            }
            return line_memory + left % 2;
        };
        for (int row = begin; row < end; row++) {
            const std::uint8_t* blue = chroma_row(cb, top + row, lines);
            const std::uint8_t* red = chroma_row(cr, top + row, lines + line);
            kernels.ycc_to_rgb(y.row(top + row) + left, blue, red, window.width, out.row(row));
            if (swapped_) swap_red_and_blue(out.row(row), window.width, out.row(row));
        }
    }

    QuantTable luma_, chroma_;
    int h_, v_;  // pixels to a chroma sample, across and down
    bool swapped_;
};

}  // namespace

std::shared_ptr<const Step> jpeg_step(int quality, Chroma chroma, bool swapped) {
    return std::make_shared<JpegStep>(quality, chroma, swapped);
}

}  // namespace gs::transform
