#include "transform/colour.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "base/cpu.hpp"
#include "rows/blend.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace gs::transform {
namespace {

// The loops below are written plainly, for the compiler to use vectors in: compiled twice, once for AVX2. Results are
// the same, as each value is computed by the same operations in single precision.
#if defined(__x86_64__)
#define GS_VECTOR __attribute__((target("avx2")))
#else
#define GS_VECTOR
#endif
#define GS_LOOP inline __attribute__((always_inline))

// Calls use(from, to, count) for each row of the window; `count` pixels.
template <typename Use>
void each_row(const Part& in, const Rect& window, const Canvas& out, Use use) {
    for (int y = 0; y < window.height; y++) use(in.at(window.x, window.y + y), out.row(y), window.width);
}

constexpr int kLanes = 64;  // pixels whose hues are shifted together

class ColourStep : public PointStep {
  public:
    bool keeps_to_rows() const final { return true; }
};

bool has_vectors() {
    return simd_level() >= Simd::avx2;
}

void linear_plain(const std::uint8_t* rgb, std::uint8_t* to, int values, float factor, float offset) {
    for (int i = 0; i < values; i++) {
        const float value = static_cast<float>(rgb[i]) * factor + offset;
        to[i] = static_cast<std::uint8_t>(std::clamp(value, 0.0f, 255.0f));
    }
}

#if defined(__x86_64__)
// 32 values at a time. What is beyond 0 .. 255 packing clips; nothing is beyond an int.
GS_VECTOR void linear_vector(const std::uint8_t* rgb, std::uint8_t* to, int values, float factor,
                             float offset) {
    const __m256 times = _mm256_set1_ps(factor), plus = _mm256_set1_ps(offset);
    const auto eight = [&](const std::uint8_t* from) GS_VECTOR {
        const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
        const __m256 levels = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
        return _mm256_cvttps_epi32(_mm256_add_ps(_mm256_mul_ps(levels, times), plus));
    };
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    int i = 0;
    for (; i + 32 <= values; i += 32) {
        const __m256i low = _mm256_packs_epi32(eight(rgb + i), eight(rgb + i + 8));
        const __m256i high = _mm256_packs_epi32(eight(rgb + i + 16), eight(rgb + i + 24));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i),
                            _mm256_permutevar8x32_epi32(_mm256_packus_epi16(low, high), order));
    }
    linear_plain(rgb + i, to + i, values - i, factor, offset);
}
#else
constexpr auto linear_vector = linear_plain;
#endif

class GrayStep final : public ColourStep {
  public:
    explicit GrayStep(Gray rule) : rule_(rule) {}
    void run(const Part& in, const Rect& window, const Canvas& out, Scratch&) const override {
        const Luma& luma = rule_ == Gray::pillow ? kPillowLuma : kOpenCvLuma;
        each_row(in, window, out, [&](const std::uint8_t* from, std::uint8_t* to, int pixels) {
            gray_row(luma, from, to, pixels);
        });
    }

  private:
    Gray rule_;
};

class LinearStep final : public ColourStep {
  public:
    LinearStep(float factor, float offset) : factor_(factor), offset_(offset) {}
    void run(const Part& in, const Rect& window, const Canvas& out, Scratch&) const override {
        const auto row = has_vectors() ? linear_vector : linear_plain;
        each_row(in, window, out, [&](const std::uint8_t* from, std::uint8_t* to, int pixels) {
            row(from, to, 3 * pixels, factor_, offset_);
        });
    }

  private:
    float factor_, offset_;
};

class BrightnessStep final : public ColourStep {
  public:
    explicit BrightnessStep(double factor) : factor_(static_cast<float>(factor)) {}
    void run(const Part& in, const Rect& window, const Canvas& out, Scratch&) const override {
        each_row(in, window, out, [&](const std::uint8_t* from, std::uint8_t* to, int pixels) {
            blend_with_level(from, to, 3 * pixels, 0, factor_);
        });
    }

  private:
    float factor_;
};

class ContrastStep final : public WholeStep {
  public:
    bool keeps_to_rows() const override { return true; }
    explicit ContrastStep(double factor) : factor_(static_cast<float>(factor)) {}
    void run(const Part& in, const Rect& window, const Canvas& out, Scratch&) const override {
        std::int64_t sum = 0;
        for (int y = 0; y < in.whole.height; y++) sum += luma_sum(in.at(0, y), in.whole.width);
        const double count = static_cast<double>(in.whole.width) * in.whole.height;
        const int mean = static_cast<int>(static_cast<double>(sum) / count + 0.5);
        each_row(in, window, out, [&](const std::uint8_t* from, std::uint8_t* to, int pixels) {
            blend_with_level(from, to, 3 * pixels, mean, factor_);
        });
    }

  private:
    float factor_;
};

class SaturationStep final : public ColourStep {
  public:
    explicit SaturationStep(double factor) : factor_(static_cast<float>(factor)) {}
    void run(const Part& in, const Rect& window, const Canvas& out, Scratch&) const override {
        each_row(in, window, out, [&](const std::uint8_t* from, std::uint8_t* to, int pixels) {
            blend_with_luma(from, to, pixels, factor_);
        });
    }

  private:
    float factor_;
};

// A number that is not negative, half up: as round(), which no vector instruction does. Both operations are exact.
GS_LOOP int rounded(double value) {
    const int down = static_cast<int>(value);
    return down + static_cast<int>((value - down) * 2.0);
}

// Pillow's rgb2hsv, `shift` added to the hue modulo 256, and hsv2rgb (Convert.c), with the same mixture of single and
// double precision, of up to kLanes pixels. Choices and arithmetic have loops of their own: a compiler makes branches of
// choices between numbers with fractions, and no vectors of branches.
GS_LOOP void shift_hues(const std::uint8_t* rgb, std::uint8_t* to, int count, int shift) {
    int red[kLanes], green[kLanes], blue[kLanes], high[kLanes], range[kLanes];
    int base[kLanes], plus[kLanes], minus[kLanes], hue[kLanes], saturation[kLanes];
    for (int i = 0; i < count; i++) {
        red[i] = rgb[3 * i];
        green[i] = rgb[3 * i + 1];
        blue[i] = rgb[3 * i + 2];
    }
    for (int i = 0; i < count; i++) {
        const int r = red[i], g = green[i], b = blue[i];
        const int most = std::max(r, std::max(g, b));
        high[i] = most;
        range[i] = most - std::min(r, std::min(g, b));
        base[i] = r == most ? 0 : g == most ? 2 : 4;
        plus[i] = most - (r == most ? b : g == most ? r : g);
        minus[i] = most - (r == most ? g : g == most ? b : r);
    }
    for (int i = 0; i < count; i++) {
        const int is_gray = range[i] == 0;
        const auto over = static_cast<float>(range[i] + is_gray);
        const float x = static_cast<float>(plus[i]) / over, y = static_cast<float>(minus[i]) / over;
        const auto h = static_cast<float>(base[i] + static_cast<double>(x) - y);
        const double turns = h / 6.0 + 1.0;  // 5/6 to 11/6: what fmod(turns, 1.0) does is exact
        const auto turn = static_cast<float>(turns - static_cast<int>(turns));
        const float s = over / static_cast<float>(high[i] + is_gray);
        hue[i] = static_cast<int>(turn * 255.0) * (1 - is_gray);
        saturation[i] = static_cast<int>(s * 255.0) * (1 - is_gray);
    }
    int p[kLanes], q[kLanes], t[kLanes], sectors[kLanes];
    for (int i = 0; i < count; i++) {
        const double at = ((hue[i] + shift) & 255) * 6.0 / 255.0;
        const int sector = static_cast<int>(at);  // 0 to 6, which is 0 again
        const auto f = static_cast<float>(at - sector);
        const auto fs = static_cast<float>(static_cast<float>(saturation[i]) / 255.0);
        const double v = high[i];  // without saturation the other three are it, too
        p[i] = rounded(v * (1.0 - fs));
        q[i] = rounded(v * (1.0 - fs * f));
        t[i] = rounded(v * (1.0 - fs * (1.0 - f)));
        sectors[i] = sector;
    }
    for (int i = 0; i < count; i++) {
        const int at = sectors[i], v = high[i];
        red[i] = at == 1 ? q[i] : (at == 2) | (at == 3) ? p[i] : at == 4 ? t[i] : v;
        green[i] = (at == 0) | (at == 6) ? t[i] : at == 3 ? q[i] : at >= 4 ? p[i] : v;
        blue[i] = at == 2 ? t[i] : (at == 3) | (at == 4) ? v : at == 5 ? q[i] : p[i];
    }
    for (int i = 0; i < count; i++) {
        to[3 * i] = static_cast<std::uint8_t>(red[i]);
        to[3 * i + 1] = static_cast<std::uint8_t>(green[i]);
        to[3 * i + 2] = static_cast<std::uint8_t>(blue[i]);
    }
}

GS_LOOP void shift_hues_loop(const std::uint8_t* rgb, std::uint8_t* to, int pixels, int shift) {
    for (; pixels >= kLanes; pixels -= kLanes, rgb += 3 * kLanes, to += 3 * kLanes)
        shift_hues(rgb, to, kLanes, shift);
    shift_hues(rgb, to, pixels, shift);
}
GS_VECTOR void shift_hues_vector(const std::uint8_t* rgb, std::uint8_t* to, int pixels, int shift) {
    shift_hues_loop(rgb, to, pixels, shift);
}
void shift_hues_plain(const std::uint8_t* rgb, std::uint8_t* to, int pixels, int shift) {
    shift_hues_loop(rgb, to, pixels, shift);
}

class HueStep final : public ColourStep {
  public:
    explicit HueStep(std::uint8_t shift) : shift_(shift) {}
    void run(const Part& in, const Rect& window, const Canvas& out, Scratch&) const override {
        const auto row = has_vectors() ? shift_hues_vector : shift_hues_plain;
        each_row(in, window, out, [&](const std::uint8_t* from, std::uint8_t* to, int pixels) {
            row(from, to, pixels, shift_);
        });
    }

  private:
    std::uint8_t shift_;
};

}  // namespace

std::shared_ptr<const Step> gray_step(Gray rule) {
    return std::make_shared<GrayStep>(rule);
}

std::shared_ptr<const Step> linear_step(float factor, float offset) {
    constexpr float kMost = 65536.0f;
    if (!(std::fabs(factor) <= kMost && std::fabs(offset) <= kMost))
        throw std::invalid_argument("a factor or an offset is beyond 65536");
    return std::make_shared<LinearStep>(factor, offset);
}

std::shared_ptr<const Step> brightness_step(double factor) {
    return std::make_shared<BrightnessStep>(factor);
}

std::shared_ptr<const Step> contrast_step(double factor) {
    return std::make_shared<ContrastStep>(factor);
}

std::shared_ptr<const Step> saturation_step(double factor) {
    return std::make_shared<SaturationStep>(factor);
}

std::shared_ptr<const Step> hue_step(std::uint8_t shift) {
    return std::make_shared<HueStep>(shift);
}

}  // namespace gs::transform
