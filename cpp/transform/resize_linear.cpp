// OpenCV's 8-bit linear interpolation (HResizeLinear and VResizeLinear in resize.cpp): places in float, weights of 11
// bits, and a last step in which each row's share is truncated on its own.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "base/cpu.hpp"
#include "image/resample.hpp"
#include "transform/resize.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace gs::transform {
namespace {

// Two source pixels of an output column, or two source rows of an output row, and their shares of 2048.
struct Tap {
    int first, second;
    std::int16_t weight[2];
};

// A row across. The sums of 19 bits lose four, as they do before the second pass, and fit into 16 bits.
void across_from(std::size_t begin, const std::vector<Tap>& taps, const std::uint8_t* row, const Rect& held,
                 std::int16_t* to) {
    for (std::size_t i = begin; i < taps.size(); i++) {
        const Tap& tap = taps[i];
        const std::uint8_t* first = row + 3 * (tap.first - held.x);
        const std::uint8_t* second = row + 3 * (tap.second - held.x);
        for (std::size_t c = 0; c < 3; c++)
            to[3 * i + c] =
                static_cast<std::int16_t>((first[c] * tap.weight[0] + second[c] * tap.weight[1]) >> 4);
    }
}

void across_plain(const std::vector<Tap>& taps, const std::uint8_t* row, const Rect& held, std::int16_t* to) {
    across_from(0, taps, row, held, to);
}

void down_plain(const std::int16_t* above, const std::int16_t* below, const std::int16_t* weight, int values,
                std::uint8_t* to) {
    for (int i = 0; i < values; i++) {
        const int sum = ((weight[0] * above[i]) >> 16) + ((weight[1] * below[i]) >> 16);
        to[i] = static_cast<std::uint8_t>((sum + 2) >> 2);
    }
}

constexpr int kBlock = 32;  // values that down_vector takes at once; it reads and writes whole blocks

#if defined(__x86_64__)

// A pixel at a time; eight bytes are read for the six of two neighbours, so the row's end is left to the plain path,
// as is what lies beyond the image, where both are the same pixel.
__attribute__((target("avx2"))) void across_vector(const std::vector<Tap>& taps, const std::uint8_t* row,
                                                   const Rect& held, std::int16_t* to) {
    const __m128i pairs = _mm_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1);
    std::size_t i = 0;
    for (; i < taps.size(); i++) {
        const Tap& tap = taps[i];
        const std::ptrdiff_t at = std::ptrdiff_t{3} * (tap.first - held.x);
        if (at + 8 > std::ptrdiff_t{3} * held.width) break;
        std::int32_t weights;
        std::memcpy(&weights, tap.weight, sizeof weights);
        const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(row + at));
        const __m128i sums =
            _mm_srai_epi32(_mm_madd_epi16(_mm_shuffle_epi8(bytes, pairs), _mm_set1_epi32(weights)), 4);
        // Four values for three: the next pixel writes over the fourth.
        _mm_storel_epi64(reinterpret_cast<__m128i*>(to + 3 * i), _mm_packs_epi32(sums, sums));
    }
    across_from(i, taps, row, held, to);
}

__attribute__((target("avx2"))) void down_vector(const std::int16_t* above, const std::int16_t* below,
                                                 const std::int16_t* weight, int values, std::uint8_t* to) {
    const __m256i first = _mm256_set1_epi16(weight[0]), second = _mm256_set1_epi16(weight[1]);
    const __m256i two = _mm256_set1_epi16(2);
    const auto sums = [&](int i) __attribute__((target("avx2"))) {
        const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(above + i));
        const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(below + i));
        const __m256i sum = _mm256_add_epi16(_mm256_mulhi_epi16(a, first), _mm256_mulhi_epi16(b, second));
        return _mm256_srai_epi16(_mm256_add_epi16(sum, two), 2);
    };
    for (int i = 0; i < values; i += kBlock) {
        const __m256i bytes = _mm256_permute4x64_epi64(_mm256_packus_epi16(sums(i), sums(i + 16)), 0xD8);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i), bytes);
    }
}

#else
constexpr auto across_vector = across_plain;
constexpr auto down_vector = down_plain;
#endif

class LinearResize final : public Step {
  public:
    explicit LinearResize(Size to) : to_(to) {}

    Size size(Size) const override { return to_; }

    Rect needs(Size in, const Rect& w) const override {
        const auto across = span(in.width, to_.width, w.x, w.width);
        const auto down = span(in.height, to_.height, w.y, w.height);
        return {across.first, down.first, across.count, down.count};
    }

    void run(const Part& in, const Rect& w, const Canvas& out, Scratch& scratch) const override {
        const int values = 3 * w.width;
        const auto room = static_cast<std::size_t>(values + kBlock);
        auto* rows = reinterpret_cast<std::int16_t*>(scratch.a.reserve(2 * room * sizeof(std::int16_t)));
        std::memset(rows, 0, 2 * room * sizeof(std::int16_t));
        std::int16_t* filtered[2] = {rows, rows + room};
        const bool fast = simd_level() == Simd::avx2;
        int of[2] = {-1, -1};  // which source rows those are
        std::vector<Tap> taps;
        for (int x = 0; x < w.width; x++) taps.push_back(tap(in.whole.width, to_.width, w.x + x, true));
        for (int y = 0; y < w.height; y++) {
            const Tap down = tap(in.whole.height, to_.height, w.y + y, false);
            const int wanted[2] = {down.first, down.second};
            for (int k = 0; k < 2; k++) {
                if (of[k] == wanted[k]) continue;
                if (k == 0 && of[1] == wanted[0]) {
                    std::swap(filtered[0], filtered[1]);
                    std::swap(of[0], of[1]);
                    continue;
                }
                const std::uint8_t* row = in.at(in.held.x, wanted[k]);
                (fast ? across_vector : across_plain)(taps, row, in.held, filtered[k]);
                of[k] = wanted[k];
            }
            (fast ? down_vector : down_plain)(filtered[0], filtered[1], down.weight, values, out.row(y));
        }
    }

  private:
    // Beyond the first and last pixel, columns are taken from one pixel alone; rows keep their two weights,
    // for the same row twice, and the truncation shows it.
    static Tap tap(int in_size, int out_size, int i, bool column) {
        const double scale = static_cast<double>(in_size) / out_size;
        auto at = static_cast<float>((i + 0.5) * scale - 0.5);
        int first = static_cast<int>(std::floor(at));
        at -= static_cast<float>(first);
        if (column && first < 0) first = 0, at = 0;
        if (column && first >= in_size - 1) first = in_size - 1, at = 0;
        return {std::clamp(first, 0, in_size - 1),
                std::clamp(first + 1, 0, in_size - 1),
                {static_cast<std::int16_t>(std::lrint((1.0f - at) * 2048.0f)),
                 static_cast<std::int16_t>(std::lrint(at * 2048.0f))}};
    }

    static SourceSpan span(int in_size, int out_size, int first, int count) {
        const int begin = tap(in_size, out_size, first, true).first;
        return {begin, tap(in_size, out_size, first + count - 1, true).second - begin + 1};
    }

    Size to_;
};

}  // namespace

std::shared_ptr<const Step> resize_linear_step(Size to) {
    return std::make_shared<LinearResize>(to);
}

}  // namespace gs::transform
