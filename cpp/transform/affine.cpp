// Pillow's Geometry.c: affine_fixed for maps that turn or shear, ImagingScaleAffine for the others.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "base/cpu.hpp"
#include "transform/geometry.hpp"
#include "transform/nearest.hpp"

namespace gs::transform {
namespace {

#if defined(__x86_64__)
#define GS_VECTOR __attribute__((target("avx2")))
#else
#define GS_VECTOR
#endif
#define GS_LOOP inline __attribute__((always_inline))

// A straight line through the input, in steps of one output pixel, in 2^16ths of a pixel.
struct Line {
    std::int64_t x, y;        // where output 0 comes from
    std::int32_t to_x, to_y;  // to the next one

    int column(int i) const { return static_cast<int>((x + std::int64_t{to_x} * i) >> 16); }
    int row(int i) const { return static_cast<int>((y + std::int64_t{to_y} * i) >> 16); }
};

std::int64_t floor_of(std::int64_t a, std::int64_t b) {
    const std::int64_t quotient = a / b;
    return quotient - (a % b != 0 && (a < 0) != (b < 0));
}

// Narrows first .. end - 1 to the i for which begin + step * i lies in 0 .. limit - 1.
void narrow(std::int64_t begin, std::int64_t step, std::int64_t limit, std::int64_t& first,
            std::int64_t& end) {
    if (step == 0) {
        if (begin < 0 || begin >= limit) end = 0;
        return;
    }
    const std::int64_t a = floor_of(-begin, step), b = floor_of(limit - 1 - begin, step);
    if (step > 0) {  // i >= -begin / step, i <= (limit - 1 - begin) / step
        first = std::max(first, a * step < -begin ? a + 1 : a);
        end = std::min(end, b + 1);
    } else {
        first = std::max(first, b * step > limit - 1 - begin ? b + 1 : b);
        end = std::min(end, a + 1);
    }
}

constexpr int kAtOnce = 64;  // pixels whose places are computed before any is copied

// Pixels first .. first + count - 1 of the line, all inside of the input; `origin` is the input's pixel (0, 0). kBytes:
// 4 copies a byte more than a pixel has, which the next one writes over.
template <int kBytes>
GS_LOOP void copy_line(const std::uint8_t* origin, std::ptrdiff_t stride, const Line& line, int first,
                       int count, std::uint8_t* to) {
    // Inside of the input nothing is negative, and sums modulo 2^32 are right.
    auto x = static_cast<std::uint32_t>(line.x + std::int64_t{line.to_x} * first);
    auto y = static_cast<std::uint32_t>(line.y + std::int64_t{line.to_y} * first);
    const auto to_x = static_cast<std::uint32_t>(line.to_x), to_y = static_cast<std::uint32_t>(line.to_y);
    const auto below = static_cast<std::uint32_t>(stride);
    for (; count > 0; count -= kAtOnce, to += 3 * kAtOnce, x += to_x * kAtOnce, y += to_y * kAtOnce) {
        std::uint32_t places[kAtOnce];
        for (std::uint32_t i = 0; i < kAtOnce; i++)
            places[i] = ((y + to_y * i) >> 16) * below + ((x + to_x * i) >> 16) * 3;
        const int now = std::min(count, kAtOnce);
        for (int i = 0; i < now; i++) std::memcpy(to + 3 * i, origin + places[i], kBytes);
    }
}

// `spare`: the byte behind each of the pixels may be read.
GS_LOOP void copy_any(const std::uint8_t* origin, std::ptrdiff_t stride, const Line& line, int first,
                      int count, bool spare, std::uint8_t* to) {
    const int quick = spare ? count - 1 : 0;
    copy_line<4>(origin, stride, line, first, quick, to);
    copy_line<3>(origin, stride, line, first + quick, count - quick, to + 3 * quick);
}
GS_VECTOR void copy_vector(const std::uint8_t* origin, std::ptrdiff_t stride, const Line& line, int first,
                           int count, bool spare, std::uint8_t* to) {
    copy_any(origin, stride, line, first, count, spare, to);
}
void copy_plain(const std::uint8_t* origin, std::ptrdiff_t stride, const Line& line, int first, int count,
                bool spare, std::uint8_t* to) {
    copy_any(origin, stride, line, first, count, spare, to);
}

class AffineStep final : public Step {
  public:
    explicit AffineStep(const std::array<double, 6>& matrix) : m_(matrix) {}
    bool keeps_to_rows() const override { return true; }

    Size size(Size in) const override {
        if (!scales_only()) {
            for (const double x : {0.0, static_cast<double>(in.width)})
                for (const double y : {0.0, static_cast<double>(in.height)})
                    if (std::fabs(x * m_[0] + y * m_[1] + m_[2]) >= 32768.0 ||
                        std::fabs(x * m_[3] + y * m_[4] + m_[5]) >= 32768.0)
                        throw std::invalid_argument("an affine map leads more than 32767 pixels away");
        }
        return in;
    }

    Rect needs(Size in, const Rect& window) const override {
        int left = in.width, right = -1, top = in.height, bottom = -1;
        const auto reaches = [&](int x, int y) {
            left = std::min(left, x);
            right = std::max(right, x);
            top = std::min(top, y);
            bottom = std::max(bottom, y);
        };
        if (scales_only()) {
            const Scaled scaled(m_, in, window);
            for (const int y : scaled.ys)
                if (y >= 0 && scaled.first < scaled.end)
                    for (const int i : {scaled.first, scaled.end - 1})
                        reaches(scaled.xs[static_cast<std::size_t>(i)], y);
        } else {
            each_line(in, window, [&](int, const Line& line, int first, int end) {
                if (first < end)
                    for (const int i : {first, end - 1}) reaches(line.column(i), line.row(i));
            });
        }
        if (right < 0) return {0, 0, 1, 1};
        return {left, top, right - left + 1, bottom - top + 1};
    }

    void run(const Part& in, const Rect& window, const Canvas& out, Scratch&) const override {
        const auto zeros = [&](int row, int first, int end) {
            std::memset(out.row(row) + 3 * first, 0, std::size_t{3} * static_cast<std::size_t>(end - first));
        };
        if (scales_only()) {
            const Scaled scaled(m_, in.whole, window);
            for (int row = 0; row < window.height; row++) {
                zeros(row, 0, window.width);
                const int y = scaled.ys[static_cast<std::size_t>(row)];
                if (y < 0) continue;
                for (int i = scaled.first; i < scaled.end; i++)
                    std::memcpy(out.row(row) + 3 * i, in.at(scaled.xs[static_cast<std::size_t>(i)], y), 3);
            }
            return;
        }
        const auto copy = simd_level() >= Simd::avx2 ? copy_vector : copy_plain;
        const int last_row = in.held.y + in.held.height - 1;
        each_line(in.whole, window, [&](int row, Line line, int first, int end) {
            zeros(row, 0, first);
            zeros(row, end, window.width);
            if (first == end) return;
            const bool spare = line.row(first) < last_row && line.row(end - 1) < last_row;
            line.x -= std::int64_t{in.held.x} << 16;
            line.y -= std::int64_t{in.held.y} << 16;
            copy(in.rgb, in.stride, line, first, end - first, spare, out.row(row) + 3 * first);
        });
    }

  private:
    // Where the window's rows and columns come from, or -1; first .. end - 1 are the columns that are not.
    struct Scaled {
        Scaled(const std::array<double, 6>& m, Size in, const Rect& window)
            : xs(nearest_places(m[2], m[0], window.x, window.width, in.width)),
              ys(nearest_places(m[5], m[4], window.y, window.height, in.height)),
              end(window.width) {
            while (first < end && xs[static_cast<std::size_t>(first)] < 0) first++;
            while (end > first && xs[static_cast<std::size_t>(end - 1)] < 0) end--;
        }
        const std::vector<int> xs, ys;
        int first = 0, end;
    };

    bool scales_only() const { return m_[1] == 0 && m_[3] == 0; }

    static int fixed(double v) {
        v = v * 65536.0 + 0.5;
        return v >= 0.0 ? static_cast<int>(v) : static_cast<int>(std::floor(v));
    }

    // Calls use(row, line, first, end) for each row of the window: its columns first .. end - 1 come from inside of the
    // image. They are one run, because the image is convex.
    template <typename Use>
    void each_line(Size in, const Rect& window, Use use) const {
        const std::int32_t a0 = fixed(m_[0]), a1 = fixed(m_[1]), a3 = fixed(m_[3]), a4 = fixed(m_[4]);
        const std::int64_t a2 = fixed(m_[2] + m_[0] * 0.5 + m_[1] * 0.5);
        const std::int64_t a5 = fixed(m_[5] + m_[3] * 0.5 + m_[4] * 0.5);
        for (int row = 0; row < window.height; row++) {
            const Line line{a2 + std::int64_t{a1} * (window.y + row) + std::int64_t{a0} * window.x,
                            a5 + std::int64_t{a4} * (window.y + row) + std::int64_t{a3} * window.x, a0, a3};
            std::int64_t first = 0, end = window.width;
            narrow(line.x, a0, std::int64_t{in.width} << 16, first, end);
            narrow(line.y, a3, std::int64_t{in.height} << 16, first, end);
            if (first >= end) first = end = 0;
            use(row, line, static_cast<int>(first), static_cast<int>(end));
        }
    }

    const std::array<double, 6> m_;
};

}  // namespace

std::shared_ptr<const Step> affine_step(const std::array<double, 6>& matrix) {
    return std::make_shared<AffineStep>(matrix);
}

}  // namespace gs::transform
