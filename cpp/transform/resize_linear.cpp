// OpenCV's 8-bit linear interpolation (HResizeLinear and VResizeLinear in resize.cpp): places in float, weights of 11
// bits, and a last step in which each row's share is truncated on its own.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "base/cpu.hpp"
#include "rows/resample.hpp"
#include "transform/resize.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace gs::transform {
namespace {

constexpr int kBlock = 32;  // values that vector code takes at once

// Pairs of bytes from anywhere in 16 bytes of a row, as one shuffle puts them, to be multiplied by pairs of weights. A
// lane makes four neighbouring values of a row of RGB; values are counted through the channels.
constexpr int kLaneValues = 4, kLaneBytes = 16;

// Four pairs of bytes of a row: their places, or -1 for a zero.
struct LanePairs {
    int first[kLaneValues], second[kLaneValues];
};

// Where to load 16 bytes, and the shuffle that makes 16-bit pairs of them.
struct LaneLoad {
    int at;
    std::uint8_t order[kLaneBytes];
};

// No byte outside of the row is loaded. False where the bytes lie too far apart, or the row is too short.
bool load_of(const LanePairs& pairs, int row_bytes, LaneLoad& load) {
    int low = row_bytes, high = -1;
    for (int i = 0; i < kLaneValues; i++)
        for (const int at : {pairs.first[i], pairs.second[i]}) {
            if (at < 0) continue;
            low = std::min(low, at);
            high = std::max(high, at);
        }
    load.at = std::min(low, row_bytes - kLaneBytes);
    if (load.at < 0 || high - load.at >= kLaneBytes) return false;
    std::memset(load.order, 0x80, sizeof load.order);
    for (int i = 0; i < kLaneValues; i++) {
        if (pairs.first[i] >= 0) load.order[4 * i] = static_cast<std::uint8_t>(pairs.first[i] - load.at);
        if (pairs.second[i] >= 0)
            load.order[4 * i + 2] = static_cast<std::uint8_t>(pairs.second[i] - load.at);
    }
    return true;
}

// Two source pixels of an output column, or two source rows of an output row, and their shares of 2048.
struct Tap {
    int first, second;
    std::int16_t weight[2];
};

std::int16_t share(float part) {
    constexpr float kWhole =
        12582912.0f;  // 1.5 * 2^23: adding it leaves no room for a fraction; halves go to even
    return static_cast<std::int16_t>((part * 2048.0f + kWhole) - kWhole);
}

// Beyond the first and last pixel, columns are taken from one pixel alone; rows keep their two weights,
// for the same row twice, and the truncation shows it.
Tap tap(int in_size, int out_size, int i, bool column) {
    const double scale = static_cast<double>(in_size) / out_size;
    auto at = static_cast<float>((i + 0.5) * scale - 0.5);
    int first = static_cast<int>(at) - (at < 0.0f ? 1 : 0);  // never below -1
    at -= static_cast<float>(first);
    if (column && first < 0) first = 0, at = 0;
    if (column && first >= in_size - 1) first = in_size - 1, at = 0;
    return {std::clamp(first, 0, in_size - 1),
            std::clamp(first + 1, 0, in_size - 1),
            {share(1.0f - at), share(at)}};
}

// Columns, for rows that begin with column `origin` of the image.
struct Columns {
    std::vector<Tap> taps;
    // For vectors: 16 values are two lanes of `loads[2 * n]` and two of `loads[2 * n + 1]`, in the order in which packing
    // interleaves them. Empty where vectors cannot be used.
    struct Load {
        int at[2];
        alignas(32) std::uint8_t order[32];
        alignas(32) std::int16_t weights[16];
    };
    std::vector<Load> loads;
    int origin;

    Columns(int in_size, int out_size, int first, int count, int begin, int held, bool vectors)
        : origin(begin) {
        taps.reserve(static_cast<std::size_t>(count));
        for (int x = 0; x < count; x++) taps.push_back(tap(in_size, out_size, first + x, true));
        if (vectors) plan_loads(held);
    }

  private:
    void plan_loads(int held) {
        const int values = 3 * static_cast<int>(taps.size()), blocks = (values + 15) / 16;
        loads.resize(2 * static_cast<std::size_t>(blocks));
        for (int lane = 0; lane < 4 * blocks; lane++) {
            const int place = lane % 4;
            Load& load = loads[static_cast<std::size_t>(2 * (lane / 4) + place % 2)];
            LanePairs pairs;
            std::int16_t* weights = load.weights + 8 * (place / 2);
            for (int i = 0; i < kLaneValues; i++) {
                const int value = std::min(kLaneValues * lane + i, values - 1);
                const Tap& one = taps[static_cast<std::size_t>(value / 3)];
                pairs.first[i] = 3 * (one.first - origin) + value % 3;
                pairs.second[i] = 3 * (one.second - origin) + value % 3;
                weights[2 * i] = one.weight[0];
                weights[2 * i + 1] = one.weight[1];
            }
            LaneLoad found;
            if (!load_of(pairs, 3 * held, found)) {
                loads.clear();
                return;
            }
            load.at[place / 2] = found.at;
            std::memcpy(load.order + kLaneBytes * (place / 2), found.order, kLaneBytes);
        }
    }
};

// A row across. The sums of 19 bits lose four, as they do before the second pass, and fit into 16 bits.
void across_plain(const Columns& columns, const std::uint8_t* row, std::int16_t* to) {
    for (std::size_t i = 0; i < columns.taps.size(); i++) {
        const Tap& one = columns.taps[i];
        const std::uint8_t* first = row + std::ptrdiff_t{3} * (one.first - columns.origin);
        const std::uint8_t* second = row + std::ptrdiff_t{3} * (one.second - columns.origin);
        for (std::size_t c = 0; c < 3; c++)
            to[3 * i + c] =
                static_cast<std::int16_t>((first[c] * one.weight[0] + second[c] * one.weight[1]) >> 4);
    }
}

void down_plain(const std::int16_t* above, const std::int16_t* below, const std::int16_t* weight, int values,
                std::uint8_t* to) {
    for (int i = 0; i < values; i++) {
        const int sum = ((weight[0] * above[i]) >> 16) + ((weight[1] * below[i]) >> 16);
        to[i] = static_cast<std::uint8_t>((sum + 2) >> 2);
    }
}

#if defined(__x86_64__)

__attribute__((target("avx2"))) inline __m256i sums_of(const Columns::Load& load, __m256i order,
                                                       __m256i weights, const std::uint8_t* row) {
    const __m256i bytes = _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(row + load.at[0]))),
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + load.at[1])), 1);
    return _mm256_srai_epi32(_mm256_madd_epi16(_mm256_shuffle_epi8(bytes, order), weights), 4);
}

// Two rows, so that orders and weights are loaded once for both. Writes whole blocks of 16 values.
__attribute__((target("avx2"))) void across_vector(const Columns& columns, const std::uint8_t* row0,
                                                   const std::uint8_t* row1, std::int16_t* to0,
                                                   std::int16_t* to1) {
    const Columns::Load* load = columns.loads.data();
    const Columns::Load* end = load + columns.loads.size();
    for (; load < end; load += 2, to0 += 16, to1 += 16) {
        const __m256i order0 = _mm256_load_si256(reinterpret_cast<const __m256i*>(load[0].order));
        const __m256i order1 = _mm256_load_si256(reinterpret_cast<const __m256i*>(load[1].order));
        const __m256i weights0 = _mm256_load_si256(reinterpret_cast<const __m256i*>(load[0].weights));
        const __m256i weights1 = _mm256_load_si256(reinterpret_cast<const __m256i*>(load[1].weights));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to0),
                            _mm256_packs_epi32(sums_of(load[0], order0, weights0, row0),
                                               sums_of(load[1], order1, weights1, row0)));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to1),
                            _mm256_packs_epi32(sums_of(load[0], order0, weights0, row1),
                                               sums_of(load[1], order1, weights1, row1)));
    }
}

// At least a block. The last one overlaps the one before, so that nothing is written beyond the row.
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
    for (int i = 0;; i += kBlock) {
        i = std::min(i, values - kBlock);
        const __m256i bytes = _mm256_permute4x64_epi64(_mm256_packus_epi16(sums(i), sums(i + 16)), 0xD8);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i), bytes);
        if (i == values - kBlock) return;
    }
}

#else
constexpr auto down_vector = down_plain;

void across_vector(const Columns& columns, const std::uint8_t* row0, const std::uint8_t* row1,
                   std::int16_t* to0, std::int16_t* to1) {
    across_plain(columns, row0, to0);
    across_plain(columns, row1, to1);
}
#endif

// Rows filtered across, in pairs of neighbours; the last two pairs are kept.
class FilteredRows {
  public:
    FilteredRows(const Part& in, const Columns& columns, Buffer& memory) : in_(in), columns_(columns) {
        const std::size_t room = 3 * columns.taps.size() + kBlock;
        auto* rows = reinterpret_cast<std::int16_t*>(memory.reserve(4 * room * sizeof(std::int16_t)));
        for (auto*& row : rows_) row = rows, rows += room;
    }

    const std::int16_t* operator[](int row) {
        for (std::size_t i = 0; i < 2; i++)
            if (first_[i] >= 0 && (row == first_[i] || row == first_[i] + 1)) {
                oldest_ = 1 - i;
                return rows_[2 * i + static_cast<std::size_t>(row - first_[i])];
            }
        const std::size_t made = oldest_;
        make(row, rows_[2 * made], rows_[2 * made + 1]);
        first_[made] = row;
        oldest_ = 1 - made;
        return rows_[2 * made];
    }

  private:
    void make(int row, std::int16_t* to, std::int16_t* next) {
        const int below = std::min(row + 1, in_.held.y + in_.held.height - 1);
        const std::uint8_t* from = in_.at(in_.held.x, row);
        if (!columns_.loads.empty()) {
            across_vector(columns_, from, in_.at(in_.held.x, below), to, next);
            return;
        }
        across_plain(columns_, from, to);
        across_plain(columns_, in_.at(in_.held.x, below), next);
    }

    const Part& in_;
    const Columns& columns_;
    std::int16_t* rows_[4];
    int first_[2] = {-1, -1};
    std::size_t oldest_ = 0;
};

class LinearResize final : public Step {
  public:
    explicit LinearResize(Size to) : to_(to) {}

    Size size(Size) const override { return to_; }
    bool keeps_to_rows() const override { return true; }

    Rect needs(Size in, const Rect& w) const override {
        const auto across = span(in.width, to_.width, w.x, w.width);
        const auto down = span(in.height, to_.height, w.y, w.height);
        return {across.first, down.first, across.count, down.count};
    }

    void run(const Part& in, const Rect& w, const Canvas& out, Scratch& scratch) const override {
        const int values = 3 * w.width;
        const bool vectors = simd_level() >= Simd::avx2;
        const Columns columns(in.whole.width, to_.width, w.x, w.width, in.held.x, in.held.width, vectors);
        FilteredRows rows(in, columns, scratch.a);
        const auto down = vectors && values >= kBlock ? down_vector : down_plain;
        for (int y = 0; y < w.height; y++) {
            const Tap taps = tap(in.whole.height, to_.height, w.y + y, false);
            const std::int16_t* above = rows[taps.first];
            down(above, rows[taps.second], taps.weight, values, out.row(y));
        }
    }

  private:
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
