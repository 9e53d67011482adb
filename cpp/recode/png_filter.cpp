#include "recode/png_filter.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace gs::png {
namespace {

using Byte = std::uint8_t;

constexpr std::size_t kPiece = 96, kEvery = 3 * kPiece;  // of a sample of a row

// The loops are written for the compiler's vectoriser: no byte depends on another that is written.
void sub(const Byte* __restrict row, const Byte* __restrict left, std::size_t size, Byte* __restrict out) {
    for (std::size_t i = 0; i < size; i++) out[i] = static_cast<Byte>(row[i] - left[i]);
}

void average(const Byte* __restrict row, const Byte* __restrict left, const Byte* __restrict above,
             std::size_t size, Byte* __restrict out) {
    for (std::size_t i = 0; i < size; i++) out[i] = static_cast<Byte>(row[i] - (left[i] + above[i]) / 2);
}

void paeth(const Byte* __restrict row, const Byte* __restrict left, const Byte* __restrict above,
           const Byte* __restrict above_left, std::size_t size, Byte* __restrict out) {
    for (std::size_t i = 0; i < size; i++) {
        const std::int16_t a = left[i], b = above[i], c = above_left[i];
        const std::int16_t p = static_cast<std::int16_t>(b - c), q = static_cast<std::int16_t>(a - c);
        const std::int16_t s = static_cast<std::int16_t>(p + q);
        const std::int16_t pa = static_cast<std::int16_t>(p < 0 ? -p : p);
        const std::int16_t pb = static_cast<std::int16_t>(q < 0 ? -q : q);
        const std::int16_t pc = static_cast<std::int16_t>(s < 0 ? -s : s);
        const std::int16_t b_or_c = pb <= pc ? b : c;
        const std::int16_t least = pb <= pc ? pb : pc;
        const std::int16_t predicted = pa <= least ? a : b_or_c;
        out[i] = static_cast<Byte>(row[i] - predicted);
    }
}

// log2(x) in 1/16 bit, x > 0; between powers of two by a straight line and its usual correction.
std::uint32_t log2_16(std::uint32_t x) {
    const int whole = 31 - __builtin_clz(x);
    const std::uint32_t fraction =
        whole >= 8 ? (x >> (whole - 8)) & 255 : (x << (8 - whole)) & 255;  // in 1/256
    const std::uint32_t bend = fraction * (256 - fraction) * 88 / 65536;   // at most 0.086
    return (static_cast<std::uint32_t>(whole) * 256 + fraction + bend + 8) / 16;
}

}  // namespace

void filter_bytes(Filter filter, const Byte* row, const Byte* above, std::size_t begin, std::size_t size,
                  std::size_t distance, Byte* out) {
    if (begin >= size) return;
    const std::size_t rest = size - begin;
    const Byte* const here = row + begin;
    const Byte* const left = here - distance;
    if (filter == kNone) std::memcpy(out + begin, here, rest);
    if (filter == kSub) sub(here, left, rest, out + begin);
    if (filter == kUp) sub(here, above + begin, rest, out + begin);
    if (filter == kAverage) average(here, left, above + begin, rest, out + begin);
    if (filter == kPaeth) paeth(here, left, above + begin, above + begin - distance, rest, out + begin);
}

void filter_row(Filter filter, const Byte* row, const Byte* above, std::size_t size, std::size_t distance,
                Byte* out) {
    // The first pixel has nothing to its left.
    const std::size_t head = std::min(size, distance);
    for (std::size_t i = 0; i < head; i++) {
        const int predicted = filter == kUp || filter == kPaeth ? above[i]
                              : filter == kAverage              ? above[i] / 2
                                                                : 0;
        out[i] = static_cast<Byte>(row[i] - predicted);
    }
    const FilterKernels* const fast = filter == kNone ? nullptr : filter_kernels();
    (fast == nullptr ? filter_bytes : fast->filter)(filter, row, above, head, size, distance, out);
}

void restore_row(Filter filter, const Byte* row, const Byte* above, std::size_t size, std::size_t distance,
                 Byte* out) {
    for (std::size_t i = 0; i < size; i++) {
        const int a = i >= distance ? out[i - distance] : 0, b = above[i];
        const int c = i >= distance ? above[i - distance] : 0;
        int predicted = 0;
        if (filter == kSub) predicted = a;
        if (filter == kUp) predicted = b;
        if (filter == kAverage) predicted = (a + b) / 2;
        if (filter == kPaeth) {
            // Section 9.4 of the specification; ties go to a, then b.
            const int pa = std::abs(b - c), pb = std::abs(a - c), pc = std::abs(a + b - 2 * c);
            predicted = pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
        }
        out[i] = static_cast<Byte>(row[i] + predicted);
    }
}

FilterChooser::FilterChooser() {
    // What filtered photographs look like before anything is known: small differences are common.
    for (int i = 0; i < 256; i++) {
        const int size = std::abs(static_cast<std::int8_t>(i));
        history_[i] = 1 + (size < 60 ? 6000u / (4u + static_cast<unsigned>(size * size)) : 0u);
    }
    update_costs();
}

void FilterChooser::update_costs() {
    std::uint32_t total = 0;
    for (const std::uint32_t n : history_) total += n + 1;
    for (int i = 0; i < 256; i++) {
        cost_[i] = static_cast<std::uint16_t>(log2_16(total) - log2_16(history_[i] + 1));
        low_[i] = static_cast<Byte>(cost_[i]);
        high_[i] = static_cast<Byte>(cost_[i] >> 8);
    }
}

void FilterChooser::learn(const std::uint32_t counts[256]) {
    // The past fades by a quarter each time; shares are kept below 2^24 so that sums stay in 32 bits.
    for (int i = 0; i < 256; i++)
        history_[i] = std::min<std::uint32_t>(history_[i] - history_[i] / 4 + counts[i], 1u << 23);
    update_costs();
}

std::uint64_t FilterChooser::cost(const Byte* bytes, std::size_t size, std::uint64_t most) const {
    constexpr std::size_t kBlock = 256;
    std::uint64_t sum = 0;
    for (std::size_t begin = 0; begin < size && sum < most; begin += kBlock) {
        const std::size_t end = std::min(size, begin + kBlock);
        std::uint32_t sums[4] = {};
        std::size_t i = begin;
        for (; i + 4 <= end; i += 4)
            for (std::size_t k = 0; k < 4; k++) sums[k] += cost_[bytes[i + k]];
        for (; i < end; i++) sums[0] += cost_[bytes[i]];
        sum += sums[0] + sums[1] + sums[2] + sums[3];
    }
    return sum;
}

// Of equally cheap filters the first one counts.
constexpr Filter kInTurn[kFilters] = {kPaeth, kAverage, kUp, kSub, kNone};

// What each filter would cost, without filtering.
Filter FilterChooser::cheapest(const FilterKernels& fast, const Byte* row, const Byte* above,
                               std::size_t size, std::size_t distance) const {
    std::uint64_t sums[kFilters] = {};
    const std::size_t head = std::min(size, distance);
    for (int f = kNone; f < kFilters; f++) {
        if (above == nullptr && f > kSub) continue;
        Byte first[8];
        filter_row(static_cast<Filter>(f), row, above, head, distance, first);
        for (std::size_t i = 0; i < head; i++) sums[f] += cost_[first[i]];
    }
    fast.costs(row, above, head, size, distance, low_, high_, sums);
    Filter chosen = kNone;
    std::uint64_t least = UINT64_MAX;
    for (const Filter f : kInTurn) {
        if ((above == nullptr && f > kSub) || sums[f] >= least) continue;
        least = sums[f];
        chosen = f;
    }
    return chosen;
}

// The same by a sample: pieces of the row, from the second pixel on, where every filter sees
// its left neighbour.
Filter FilterChooser::cheapest_by_sample(const Byte* row, const Byte* above, std::size_t size,
                                         std::size_t distance, Byte* scratch) const {
    Filter chosen = kNone;
    std::uint64_t least = UINT64_MAX;
    for (const Filter f : kInTurn) {
        if (above == nullptr && f > kSub) continue;
        std::uint64_t bits = 0;
        for (std::size_t at = distance; at + kPiece <= size; at += kEvery) {
            const Byte* up = above == nullptr ? nullptr : above + at - distance;
            filter_row(f, row + at - distance, up, kPiece + distance, distance, scratch);
            bits += cost(scratch + distance, kPiece, UINT64_MAX);
        }
        if (bits >= least) continue;
        least = bits;
        chosen = f;
    }
    return chosen;
}

void FilterChooser::filter(const Byte* row, const Byte* above, std::size_t size, std::size_t distance,
                           int effort, Byte* out, Byte* scratch) {
    const FilterKernels* const fast = filter_kernels();
    Filter chosen = kNone;
    if (effort == 0) {
        chosen = above == nullptr ? kSub : kPaeth;
    } else if (effort == 1 && size >= 3 * kEvery) {
        chosen = cheapest_by_sample(row, above, size, distance, scratch);
    } else if (fast != nullptr && fast->costs != nullptr) {
        chosen = cheapest(*fast, row, above, size, distance);
    } else {
        std::uint64_t least = UINT64_MAX;
        for (const Filter f : kInTurn) {
            if (above == nullptr && f > kSub) continue;
            filter_row(f, row, above, size, distance, scratch);
            const std::uint64_t bits = cost(scratch, size, least);
            if (bits >= least) continue;
            least = bits;
            chosen = f;
            std::memcpy(out + 1, scratch, size);
        }
        out[0] = chosen;
        return;
    }
    out[0] = chosen;
    filter_row(chosen, row, above, size, distance, out + 1);
}

}  // namespace gs::png
