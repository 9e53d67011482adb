#include "rows/resample.hpp"

#include <algorithm>
#include <cmath>

#include "base/cpu.hpp"
#include "rows/resample_avx512.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace gs {
namespace {

constexpr int kFraction = kWeightBits;
constexpr std::int32_t kHalf = std::int32_t{1} << (kFraction - 1);

constexpr double kPi = 3.14159265358979323846;

double support_of(Filter filter) {
    switch (filter) {
        case Filter::box:
            return 0.5;
        case Filter::bilinear:
        case Filter::hamming:
            return 1.0;
        case Filter::bicubic:
            return 2.0;
        case Filter::lanczos:
            return 3.0;
    }
    return 0.0;
}

double sinc(double x) {
    return x == 0.0 ? 1.0 : std::sin(x * kPi) / (x * kPi);
}

double weight_at(Filter filter, double x) {
    if (filter == Filter::box) return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
    if (filter == Filter::lanczos) return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3.0) : 0.0;
    x = std::fabs(x);
    if (filter == Filter::bilinear) return x < 1.0 ? 1.0 - x : 0.0;
    if (filter == Filter::hamming)  // Pillow's two constants are in single precision
        return x == 0.0 ? 1.0 : x >= 1.0 ? 0.0 : sinc(x) * (0.54f + 0.46f * std::cos(x * kPi));
    constexpr double kA = -0.5;  // Keys' cubic
    if (x < 1.0) return ((kA + 2.0) * x - (kA + 3.0)) * x * x + 1.0;
    if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * kA;
    return 0.0;
}

// Which source pixels the filter reaches from `centre`.
SourceSpan reach(double centre, double support, int in_size) {
    const int first = std::max(static_cast<int>(centre - support + 0.5), 0);
    return {first, std::min(static_cast<int>(centre + support + 0.5), in_size) - first};
}

std::uint8_t to_byte(std::int32_t sum) {
    return static_cast<std::uint8_t>(std::clamp(sum >> kFraction, 0, 255));
}

// The exact weights of pixels first .. first + count - 1, and their sum.
template <Filter kFilter>
double fill(double* exact, int first, int count, double centre, double narrowed) {
    double total = 0.0;
    for (int j = 0; j < count; j++) {
        exact[j] = weight_at(kFilter, (j + first - centre + 0.5) * narrowed);
        total += exact[j];
    }
    return total;
}

using Fill = double (*)(double*, int, int, double, double);

Fill fill_of(Filter filter) {
    switch (filter) {
        case Filter::box:
            return fill<Filter::box>;
        case Filter::bilinear:
            return fill<Filter::bilinear>;
        case Filter::hamming:
            return fill<Filter::hamming>;
        case Filter::bicubic:
            return fill<Filter::bicubic>;
        case Filter::lanczos:
            break;
    }
    return fill<Filter::lanczos>;
}

// What Axis has of `groups` groups of weights, each a part of `total`. `digits` may be nullptr.
void round_plain(const double* exact, double total, int groups, std::int32_t* weights, Axis::Split* split,
                 Axis::Digits*) {
    for (int j = 0; j < 4 * groups; j++) {
        const double scaled = exact[j] / total * (1 << kFraction);
        weights[j] = static_cast<std::int32_t>(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
        split[j / 4].low[j % 4] = static_cast<std::int16_t>(weights[j] & 0x7FFF);
        split[j / 4].high[j % 4] = static_cast<std::int16_t>(weights[j] >> 15);
    }
}

void across_plain(const Axis& axis, const std::uint8_t* rgb, std::uint8_t* to, int from_output) {
    for (int i = from_output; i < axis.outputs(); i++) {
        const Axis::Output out = axis.output(i);
        const std::uint8_t* pixel = rgb + std::ptrdiff_t{3} * out.first;
        std::int32_t sum[3] = {kHalf, kHalf, kHalf};
        for (int j = 0; j < out.count; j++)
            for (int c = 0; c < 3; c++) sum[c] += pixel[3 * j + c] * out.weights[j];
        for (int c = 0; c < 3; c++) to[3 * i + c] = to_byte(sum[c]);
    }
}

void down_plain(const Axis::Output& out, const std::uint8_t* rgb, std::ptrdiff_t stride, int bytes,
                std::uint8_t* to) {
    const std::uint8_t* first = rgb + out.first * stride;
    for (int x = 0; x < bytes; x++) {
        std::int32_t sum = kHalf;
        for (int j = 0; j < out.count; j++) sum += first[j * stride + x] * out.weights[j];
        to[x] = to_byte(sum);
    }
}

#if defined(__x86_64__)

__attribute__((target("avx2"))) void round_avx2(const double* exact, double total, int groups,
                                                std::int32_t* weights, Axis::Split* split,
                                                Axis::Digits* digits) {
    const __m256d by = _mm256_set1_pd(total), one = _mm256_set1_pd(1 << kFraction),
                  half = _mm256_set1_pd(0.5);
    const __m128i biased = _mm_set1_epi32(0x808080);
    const __m128i order = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, -1, -1, -1, -1);
    for (int g = 0; g < groups; g++) {
        const __m256d scaled = _mm256_mul_pd(_mm256_div_pd(_mm256_loadu_pd(exact + 4 * g), by), one);
        // Away from zero: the half has the number's sign.
        const __m256d sign = _mm256_and_pd(scaled, _mm256_set1_pd(-0.0));
        const __m128i w = _mm256_cvttpd_epi32(_mm256_add_pd(scaled, _mm256_or_pd(half, sign)));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(weights + 4 * g), w);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(split + g),
                         _mm_packs_epi32(_mm_and_si128(w, _mm_set1_epi32(0x7FFF)), _mm_srai_epi32(w, 15)));
        if (!digits) continue;
        // A byte that is 128 too large has its sign by turning its highest bit. Writes four bytes too many.
        const __m128i bytes = _mm_xor_si128(_mm_add_epi32(w, biased), biased);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(digits + g), _mm_shuffle_epi8(bytes, order));
    }
}

// The vector paths multiply pairs of neighbouring taps at once (16-bit products summed in 32 bits) with the
// weights' high and low parts apart: sum = (sum of high parts << 15) + sum of low parts, exact modulo 2^32 as
// the plain sum is.

// Four taps of one pixel per step: taps 0 and 1 in the lower half, 2 and 3 in the upper one. Reads 16 bytes
// for 12, so outputs whose last step would reach beyond the row are left to the plain path. Returns the
// first of those.
__attribute__((target("avx2"))) int across_avx2(const Axis& axis, const std::uint8_t* rgb, std::uint8_t* to) {
    const __m256i pairs = _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1,  //
                                           6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
    const __m256i low_of = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
    const __m256i high_of = _mm256_setr_epi32(2, 2, 2, 2, 3, 3, 3, 3);
    const __m128i pick = _mm_setr_epi8(0, 4, 8, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    const int row_bytes = 3 * axis.source_count();
    for (int i = 0; i < axis.outputs(); i++) {
        const Axis::Output out = axis.output(i);
        if (3 * out.first + 12 * out.groups + 4 > row_bytes) return i;
        const std::uint8_t* pixel = rgb + std::ptrdiff_t{3} * out.first;
        __m256i low = _mm256_setzero_si256(), high = low;
        for (int g = 0; g < out.groups; g++) {
            const __m256i bytes = _mm256_broadcastsi128_si256(
                _mm_loadu_si128(reinterpret_cast<const __m128i*>(pixel + 12 * g)));
            const __m256i weights =
                _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(out.split + g)));
            const __m256i values = _mm256_shuffle_epi8(bytes, pairs);
            low = _mm256_add_epi32(low,
                                   _mm256_madd_epi16(values, _mm256_permutevar8x32_epi32(weights, low_of)));
            high = _mm256_add_epi32(high,
                                    _mm256_madd_epi16(values, _mm256_permutevar8x32_epi32(weights, high_of)));
        }
        const __m256i both = _mm256_add_epi32(low, _mm256_slli_epi32(high, 15));
        __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(both), _mm256_extracti128_si256(both, 1));
        sum = _mm_srai_epi32(_mm_add_epi32(sum, _mm_set1_epi32(kHalf)), kFraction);
        sum = _mm_min_epi32(_mm_max_epi32(sum, _mm_setzero_si128()), _mm_set1_epi32(255));
        const int rgb32 = _mm_cvtsi128_si32(_mm_shuffle_epi8(sum, pick));
        to[3 * i] = static_cast<std::uint8_t>(rgb32);
        to[3 * i + 1] = static_cast<std::uint8_t>(rgb32 >> 8);
        to[3 * i + 2] = static_cast<std::uint8_t>(rgb32 >> 16);
    }
    return axis.outputs();
}

// 32 bytes of a row at a time, two rows per step.
__attribute__((target("avx2"))) void down_avx2(const Axis::Output& out, const std::uint8_t* rgb,
                                               std::ptrdiff_t stride, int bytes, std::uint8_t* to) {
    const __m256i half = _mm256_set1_epi32(kHalf), zero = _mm256_setzero_si256();
    for (int x = 0; x < bytes; x += 32) {
        const std::uint8_t* first = rgb + out.first * stride + x;
        __m256i low[4] = {half, half, half, half}, high[4] = {zero, zero, zero, zero};
        for (int j = 0; j < out.count; j += 2) {
            const std::uint8_t* above = first + j * stride;
            // the second row of the last pair may not exist; its weight is 0
            const std::uint8_t* below = j + 1 < out.count ? above + stride : above;
            const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(above));
            const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(below));
            const auto* split = out.split + j / 4;
            std::int32_t l, h;
            __builtin_memcpy(&l, split->low + (j & 2), 4);
            __builtin_memcpy(&h, split->high + (j & 2), 4);
            const __m256i wl = _mm256_set1_epi32(l), wh = _mm256_set1_epi32(h);
            const __m256i near = _mm256_unpacklo_epi8(a, b), far = _mm256_unpackhi_epi8(a, b);
            const __m256i values[4] = {_mm256_unpacklo_epi8(near, zero), _mm256_unpackhi_epi8(near, zero),
                                       _mm256_unpacklo_epi8(far, zero), _mm256_unpackhi_epi8(far, zero)};
            for (int k = 0; k < 4; k++) {
                low[k] = _mm256_add_epi32(low[k], _mm256_madd_epi16(values[k], wl));
                high[k] = _mm256_add_epi32(high[k], _mm256_madd_epi16(values[k], wh));
            }
        }
        for (int k = 0; k < 4; k++)
            low[k] = _mm256_srai_epi32(_mm256_add_epi32(low[k], _mm256_slli_epi32(high[k], 15)), kFraction);
        // the packs undo the unpacks: both work within 16-byte lanes
        const __m256i packed =
            _mm256_packus_epi16(_mm256_packs_epi32(low[0], low[1]), _mm256_packs_epi32(low[2], low[3]));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + x), packed);
    }
}

#endif

}  // namespace

SourceSpan source_span(Filter filter, int in_size, float begin, float end, int out_size, int out_first,
                       int out_count) {
    const double scale = static_cast<double>(end - begin) / out_size;
    const double support = support_of(filter) * std::max(scale, 1.0);
    const int first = reach(begin + (out_first + 0.5) * scale, support, in_size).first;
    const SourceSpan last = reach(begin + (out_first + out_count - 1 + 0.5) * scale, support, in_size);
    return {first, last.first + last.count - first};
}

void Axis::plan(Filter filter, int in_size, float begin, float end, int out_size, int out_first,
                int out_count, Buffer& memory) {
    const double scale = static_cast<double>(end - begin) / out_size;
    const double widened = std::max(scale, 1.0);
    identity_ = scale == 1.0 && begin == std::floor(begin);
    const double support = support_of(filter) * widened;
    // No output has more taps than the whole axis, however wide the filter.
    const int most = std::min(static_cast<int>(std::ceil(support)) * 2 + 1, in_size);
    outputs_ = out_count;
    groups_ = (most + 3) / 4;

    const auto n = static_cast<std::size_t>(out_count), groups = n * static_cast<std::size_t>(groups_);
    const std::size_t split_bytes = groups * sizeof(Split), weight_bytes = groups * 4 * sizeof(std::int32_t);
    const std::size_t exact_bytes = std::size_t{4} * static_cast<std::size_t>(groups_) * sizeof(double);
    const std::size_t digit_bytes = simd_level() >= Simd::avx512 ? (groups + 1) * sizeof(Digits) : 0;
    std::uint8_t* at =
        memory.reserve(split_bytes + weight_bytes + exact_bytes + n * sizeof(Span) + digit_bytes);
    auto* splits = reinterpret_cast<Split*>(at);
    auto* weights = reinterpret_cast<std::int32_t*>(at + split_bytes);
    auto* exact = reinterpret_cast<double*>(at + split_bytes + weight_bytes);
    auto* spans = reinterpret_cast<Span*>(at + split_bytes + weight_bytes + exact_bytes);

    auto* digits = digit_bytes > 0 ? reinterpret_cast<Digits*>(spans + n) : nullptr;

    auto* round = round_plain;
#if defined(__x86_64__)
    if (simd_level() >= Simd::avx2) round = round_avx2;
#endif
    const Fill fill = fill_of(filter);
    const double narrowed = 1.0 / widened;
    int lowest = in_size, highest = 0;
    for (int i = 0; i < out_count; i++) {
        const double centre = begin + (out_first + i + 0.5) * scale;
        const auto [first, count] = reach(centre, support, in_size);
        const double total = fill(exact, first, count, centre, narrowed);
        std::fill(exact + count, exact + std::ptrdiff_t{4} * groups_, 0.0);
        const std::ptrdiff_t at_group = std::ptrdiff_t{groups_} * i;
        round(exact, total != 0.0 ? total : 1.0, groups_, weights + 4 * at_group, splits + at_group,
              digits ? digits + at_group : nullptr);
        spans[i] = {first, count};
        lowest = std::min(lowest, first);
        highest = std::max(highest, first + count);
    }
    for (int i = 0; i < out_count; i++) spans[i].first -= lowest;
    source_first_ = lowest;
    source_count_ = highest - lowest;
    spans_ = spans;
    weights_ = weights;
    splits_ = splits;
    digits_ = digits;
}

void resample_across(const Axis& axis, const std::uint8_t* rgb, std::uint8_t* to) {
    int done = 0;
#if defined(__x86_64__)
    if (simd_level() >= Simd::avx2) done = across_avx2(axis, rgb, to);
#endif
    across_plain(axis, rgb, to, done);
}

void resample_down(const Axis::Output& output, const std::uint8_t* rgb, std::ptrdiff_t stride_bytes,
                   int bytes, std::uint8_t* to) {
#if defined(__x86_64__)
    if (output.digits) return down_avx512(output, rgb, stride_bytes, bytes, to);
    if (simd_level() >= Simd::avx2) return down_avx2(output, rgb, stride_bytes, bytes, to);
#endif
    down_plain(output, rgb, stride_bytes, bytes, to);
}

}  // namespace gs
