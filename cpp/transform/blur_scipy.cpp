// SciPy's Gaussian filter on 8-bit images, bit for bit.
//
// The reference is a sum of doubles that is truncated. The vector path sums in single precision, which is
// more than twice as fast, and bounds its error: where the sum is not that close to a whole number, the
// truncated result is certain. The few other pixels, and flat areas, whose sums are whole numbers but for the
// last bit, are computed as the reference does.
#include <cmath>
#include <cstring>

#include "base/cpu.hpp"
#include "transform/blur.hpp"
#include "transform/edges.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace gs::transform {
namespace {

struct Kernel {
    int radius;
    const double* exact;     // [0 .. radius]
    const float* rounded;    // the same
    float doubt;             // sums closer than this to a whole number are not certain
    std::uint8_t flat[256];  // what a flat area of a value becomes
};

// What a row of output bytes is made of: byte x from centre[x], low[j][x] and high[j][x], j from 1
// to the radius.
struct Taps {
    const std::uint8_t* centre;
    const std::uint8_t* const* low;
    const std::uint8_t* const* high;
};

// SciPy's order: the centre, then from the farthest pair inwards.
std::uint8_t exact_byte(const Kernel& k, const Taps& t, int x) {
    double sum = t.centre[x] * k.exact[0];
    for (int j = k.radius; j > 0; j--) sum += (static_cast<double>(t.low[j][x]) + t.high[j][x]) * k.exact[j];
    return static_cast<std::uint8_t>(static_cast<int>(sum));
}

void row_plain(const Kernel& k, const Taps& t, int first, int count, std::uint8_t* out) {
    for (int x = first; x < count; x++) out[x] = exact_byte(k, t, x);
}

#if defined(__x86_64__)

#define GS_FMA __attribute__((target("avx2,fma")))
#define GS_FMA_INLINE inline __attribute__((always_inline, target("avx2,fma")))

GS_FMA_INLINE __m128i load16(const std::uint8_t* p) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}

GS_FMA_INLINE __m256i pair_sums(const Taps& t, int j, int x) {
    return _mm256_add_epi16(_mm256_cvtepu8_epi16(load16(t.low[j] + x)),
                            _mm256_cvtepu8_epi16(load16(t.high[j] + x)));
}

// Whether the 16 bytes at x, with all that goes into them, are flat: then the table has the result.
GS_FMA_INLINE bool flat_group(const Kernel& k, const Taps& t, int x) {
    const __m128i centre = load16(t.centre + x);
    for (int j = 1; j <= k.radius; j++) {
        const __m128i same = _mm_and_si128(_mm_cmpeq_epi8(centre, load16(t.low[j] + x)),
                                           _mm_cmpeq_epi8(centre, load16(t.high[j] + x)));
        if (_mm_movemask_epi8(same) != 0xFFFF) return false;
    }
    return true;
}

// Four of eight 16-bit sums.
GS_FMA_INLINE __m256d quarter(__m128i sums, bool upper) {
    return _mm256_cvtepi32_pd(_mm_cvtepu16_epi32(upper ? _mm_srli_si128(sums, 8) : sums));
}

// The 16 bytes at x as the reference computes them.
__attribute__((noinline)) GS_FMA void exact_group(const Kernel& k, const Taps& t, int x, std::uint8_t* out) {
    if (flat_group(k, t, x)) {
        for (int i = x; i < x + 16; i++) out[i] = k.flat[t.centre[i]];
        return;
    }
    __m256d sum[4];
    const __m128i centre = load16(t.centre + x);
    const __m256i wide = _mm256_cvtepu8_epi16(centre);
    for (int i = 0; i < 4; i++) {
        const __m128i half = i < 2 ? _mm256_castsi256_si128(wide) : _mm256_extracti128_si256(wide, 1);
        sum[i] = _mm256_mul_pd(quarter(half, i & 1), _mm256_set1_pd(k.exact[0]));
    }
    for (int j = k.radius; j > 0; j--) {
        const __m256i pairs = pair_sums(t, j, x);
        const __m256d weight = _mm256_set1_pd(k.exact[j]);
        for (int i = 0; i < 4; i++) {
            const __m128i half = i < 2 ? _mm256_castsi256_si128(pairs) : _mm256_extracti128_si256(pairs, 1);
            sum[i] = _mm256_add_pd(sum[i], _mm256_mul_pd(quarter(half, i & 1), weight));
        }
    }
    const __m128i bytes =
        _mm_packus_epi16(_mm_packus_epi32(_mm256_cvttpd_epi32(sum[0]), _mm256_cvttpd_epi32(sum[1])),
                         _mm_packus_epi32(_mm256_cvttpd_epi32(sum[2]), _mm256_cvttpd_epi32(sum[3])));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + x), bytes);
}

GS_FMA_INLINE __m256 low_floats(__m256i sums) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(_mm256_castsi256_si128(sums)));
}
GS_FMA_INLINE __m256 high_floats(__m256i sums) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(_mm256_extracti128_si256(sums, 1)));
}

// Whether all eight truncated sums are certain: not within `doubt` of a whole number, or exactly zero, which
// only zeros make.
GS_FMA_INLINE bool certain(__m256 sum, __m256i whole, __m256 doubt) {
    const __m256 beyond = _mm256_sub_ps(sum, _mm256_cvtepi32_ps(whole));
    const __m256 near =
        _mm256_or_ps(_mm256_cmp_ps(beyond, doubt, _CMP_LT_OQ),
                     _mm256_cmp_ps(_mm256_sub_ps(_mm256_set1_ps(1.0f), beyond), doubt, _CMP_LT_OQ));
    const __m256 zero = _mm256_cmp_ps(sum, _mm256_setzero_ps(), _CMP_EQ_OQ);
    return _mm256_movemask_ps(_mm256_andnot_ps(zero, near)) == 0;
}

// 32 bytes per step; returns the first byte that is left.
GS_FMA int row_avx2(const Kernel& k, const Taps& t, int count, std::uint8_t* out) {
    const __m256 doubt = _mm256_set1_ps(k.doubt);
    int x = 0;
    for (; x + 32 <= count; x += 32) {
        __m256 weight = _mm256_set1_ps(k.rounded[0]);
        __m256 sum[4];
        for (int g = 0; g < 2; g++) {
            const __m256i centre = _mm256_cvtepu8_epi16(load16(t.centre + x + 16 * g));
            sum[2 * g] = _mm256_mul_ps(low_floats(centre), weight);
            sum[2 * g + 1] = _mm256_mul_ps(high_floats(centre), weight);
        }
        for (int j = k.radius; j > 0; j--) {
            weight = _mm256_set1_ps(k.rounded[j]);
            for (int g = 0; g < 2; g++) {
                const __m256i pairs = pair_sums(t, j, x + 16 * g);
                sum[2 * g] = _mm256_fmadd_ps(low_floats(pairs), weight, sum[2 * g]);
                sum[2 * g + 1] = _mm256_fmadd_ps(high_floats(pairs), weight, sum[2 * g + 1]);
            }
        }
        for (int g = 0; g < 2; g++) {
            const __m256i low = _mm256_cvttps_epi32(sum[2 * g]), high = _mm256_cvttps_epi32(sum[2 * g + 1]);
            if (!certain(sum[2 * g], low, doubt) || !certain(sum[2 * g + 1], high, doubt)) {
                exact_group(k, t, x + 16 * g, out);
                continue;
            }
            const __m256i words = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, high), 0xD8);
            const __m128i bytes =
                _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
            _mm_storeu_si128(reinterpret_cast<__m128i*>(out + x + 16 * g), bytes);
        }
    }
    return x;
}

#endif

// `count` bytes; up to 31 more are read and written, so that vectors are whole.
void filter_row(const Kernel& k, const Taps& t, int count, std::uint8_t* out) {
#if defined(__x86_64__)
    if (simd_level() >= Simd::avx2) {
        row_avx2(k, t, (count + 31) / 32 * 32, out);
        return;
    }
#endif
    row_plain(k, t, 0, count, out);
}

class ScipyBlur final : public Step {
  public:
    explicit ScipyBlur(std::vector<double> weights)
        : exact_(std::move(weights)), rounded_(exact_.begin(), exact_.end()) {
        kernel_.radius = static_cast<int>(exact_.size()) - 1;
        kernel_.exact = exact_.data();
        kernel_.rounded = rounded_.data();
        // Rounding the weights costs 2^-24 of the sum, each of the radius + 1 additions as much again.
        kernel_.doubt = static_cast<float>(kernel_.radius + 4) * 256.0f * 0x1p-24f;
        for (int value = 0; value < 256; value++) {
            double sum = value * exact_[0];
            for (int j = kernel_.radius; j > 0; j--)
                sum += (static_cast<double>(value) + value) * exact_[static_cast<std::size_t>(j)];
            kernel_.flat[value] = static_cast<std::uint8_t>(static_cast<int>(sum));
        }
    }

    Rect needs(Size in, const Rect& window) const override {
        return reach_of(in, window, kernel_.radius, kernel_.radius, mirror_with_edge);
    }

    void run(const Part& in, const Rect& window, const Canvas& out, Scratch& scratch) const override {
        const int radius = kernel_.radius;
        std::vector<const std::uint8_t*> low(exact_.size()), high(exact_.size());
        const Taps taps{nullptr, low.data(), high.data()};
        std::uint8_t* filtered = Canvas::in(scratch.a, in.held.width, 1).rgb;
        std::uint8_t* line = Canvas::in(scratch.b, window.width + 2 * radius, 1).rgb;
        for (int y = 0; y < window.height; y++) {
            const auto row = [&](int at) { return in.at(in.held.x, mirror_with_edge(at, in.whole.height)); };
            const int here = window.y + y;
            Taps down = taps;
            down.centre = row(here);
            for (int j = 1; j <= radius; j++) {
                low[static_cast<std::size_t>(j)] = row(here - j);
                high[static_cast<std::size_t>(j)] = row(here + j);
            }
            filter_row(kernel_, down, 3 * in.held.width, filtered);
            continue_row(in, filtered, window.x, window.width, radius, mirror_with_edge, line);
            Taps across = taps;
            across.centre = line + 3 * radius;
            for (int j = 1; j <= radius; j++) {
                low[static_cast<std::size_t>(j)] = across.centre - 3 * j;
                high[static_cast<std::size_t>(j)] = across.centre + 3 * j;
            }
            filter_row(kernel_, across, 3 * window.width, out.row(y));
        }
    }

  private:
    std::vector<double> exact_;
    std::vector<float> rounded_;
    Kernel kernel_;
};

}  // namespace

std::shared_ptr<const Step> scipy_blur_step(std::vector<double> weights) {
    return std::make_shared<ScipyBlur>(std::move(weights));
}

}  // namespace gs::transform
