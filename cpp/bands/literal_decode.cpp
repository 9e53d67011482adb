#include "bands/literal_decode.hpp"

#include <algorithm>
#include <cstring>

#include "base/cpu.hpp"
#include "base/huffman_code.hpp"

// Why this is fast
//  * A look-up yields every symbol that is whole in the next 12 bits: two or three for filtered photographs.
//  * Symbols are stored four bytes at a time, whatever their number: no branch depends on the data.
//  * Four runs are decoded side by side. Each is a chain of look-ups that wait for one another; four chains
//    keep the processor busy meanwhile.
//  * How far the loop may go without looking at the ends is computed beforehand.

namespace gs {
namespace {

constexpr std::uint32_t kMask = (1u << kLiteralBits) - 1;
constexpr int kLookups = 4;                         // per refill: 4 * 12 bits of the 57 there are at least
constexpr std::size_t kMostSymbols = 3 * kLookups;  // of a round
constexpr std::size_t kMostBits = kLiteralBits * kLookups;
constexpr std::size_t kStore = 4;

std::uint64_t load(const std::uint8_t* p) {
    std::uint64_t value;
    std::memcpy(&value, p, 8);
    return value;
}

struct Lane {
    std::size_t bit = 0;
    std::uint8_t* to = nullptr;
    std::uint8_t* end = nullptr;
    std::size_t last_bit = 0;  // where the run must end, or 0
};

// `rounds` rounds of every lane; the caller has made sure that neither data nor places run out.
template <int N>
inline __attribute__((always_inline)) void rounds_of(const std::uint8_t* data, const std::uint32_t* table,
                                                     Lane* lanes, std::size_t rounds) {
    std::size_t bit[N];
    std::uint8_t* to[N];
    for (int k = 0; k < N; k++) bit[k] = lanes[k].bit, to[k] = lanes[k].to;
    for (; rounds > 0; rounds--) {
        std::uint64_t bits[N];
        for (int k = 0; k < N; k++) bits[k] = load(data + (bit[k] >> 3)) >> (bit[k] & 7);
        for (int i = 0; i < kLookups; i++) {
            for (int k = 0; k < N; k++) {
                const std::uint32_t entry = table[bits[k] & kMask];
                const std::uint32_t symbols = entry >> 8;
                std::memcpy(to[k], &symbols, kStore);
                to[k] += entry >> 6 & 3;
                bit[k] += entry & 63;
                bits[k] >>= entry & 63;
            }
        }
    }
    for (int k = 0; k < N; k++) lanes[k].bit = bit[k], lanes[k].to = to[k];
}

#if defined(__x86_64__)
template <int N>
__attribute__((target("bmi2"))) void rounds_bmi2(const std::uint8_t* data, const std::uint32_t* table,
                                                 Lane* lanes, std::size_t rounds) {
    rounds_of<N>(data, table, lanes, rounds);
}
#endif

template <int N>
void run_rounds(const std::uint8_t* data, const std::uint32_t* table, Lane* lanes, std::size_t rounds) {
#if defined(__x86_64__)
    if (simd_level() >= Simd::avx2) return rounds_bmi2<N>(data, table, lanes, rounds);
#endif
    rounds_of<N>(data, table, lanes, rounds);
}

class Decoder {
  public:
    Decoder(ByteView data, const LiteralTable& table) : data_(data), table_(table.entries) {
        // Up to here a load of eight bytes stays within the data.
        safe_bits_ = data.size >= 8 ? (data.size - 8) * 8 : 0;
    }

    std::size_t safe_rounds(const Lane& lane) const {
        const std::size_t room = static_cast<std::size_t>(lane.end - lane.to);
        const std::size_t by_room = room > kStore ? (room - kStore) / kMostSymbols : 0;
        const std::size_t by_data = lane.bit < safe_bits_ ? (safe_bits_ - lane.bit) / kMostBits : 0;
        return std::min(by_room, by_data);
    }

    template <int N>
    void run(Lane* lanes) const {
        while (true) {
            std::size_t rounds = safe_rounds(lanes[0]);
            for (int k = 1; k < N; k++) rounds = std::min(rounds, safe_rounds(lanes[k]));
            if (rounds == 0) return;
            run_rounds<N>(data_.data, table_, lanes, rounds);
        }
    }

    // The last symbols of a run, one look-up at a time. False when the run does not end where it should.
    bool finish(Lane& lane) const {
        const std::size_t all_bits = data_.size * 8;
        std::size_t before = lane.bit;
        while (lane.to < lane.end) {
            if (lane.bit >= all_bits) return false;
            std::uint64_t bits = 0;
            const std::size_t at = lane.bit >> 3;
            std::memcpy(&bits, data_.data + at, std::min<std::size_t>(8, data_.size - at));
            const std::uint32_t entry = table_[bits >> (lane.bit & 7) & kMask];
            if ((entry & 63) == 0) return false;  // the end of the block
            const std::uint32_t symbols = entry >> 8;
            const std::size_t n =
                std::min<std::size_t>(entry >> 6 & 3, static_cast<std::size_t>(lane.end - lane.to));
            std::memcpy(lane.to, &symbols, n);
            lane.to += n;
            before = lane.bit;
            lane.bit += entry & 63;
        }
        // The last look-up may have taken symbols of the next run too.
        return lane.last_bit == 0 || (before < lane.last_bit && lane.last_bit <= lane.bit);
    }

  private:
    ByteView data_;
    const std::uint32_t* table_;
    std::size_t safe_bits_;
};

}  // namespace

int decode_literal(ByteView data, const LiteralTable& table, std::size_t bit) {
    std::uint8_t symbol = 0;
    Lane lane{bit, &symbol, &symbol + 1, 0};
    return Decoder(data, table).finish(lane) ? symbol : -1;
}

bool decode_literals(ByteView data, const LiteralTable& table, const LiteralRun* runs, int count) {
    const Decoder decoder(data, table);
    Lane lanes[4];
    int live = 0, next = 0;
    while (true) {
        while (live < 4 && next < count) {
            const LiteralRun& run = runs[next++];
            lanes[live++] = {run.bit, run.to, run.to + run.symbols, run.end};
        }
        if (live == 0) return true;
        if (live == 4)
            decoder.run<4>(lanes);
        else if (live == 3)
            decoder.run<3>(lanes);
        else if (live == 2)
            decoder.run<2>(lanes);
        else
            decoder.run<1>(lanes);
        // At least one lane can go no further at full speed: finish it and give its place away.
        for (int k = 0; k < live;) {
            if (decoder.safe_rounds(lanes[k]) > 0) {
                k++;
                continue;
            }
            if (!decoder.finish(lanes[k])) return false;
            lanes[k] = lanes[--live];
        }
    }
}

namespace {

constexpr std::uint8_t kOrder[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};

class BitReader {
  public:
    explicit BitReader(ByteView data) : data_(data) {}
    unsigned peek(int count) const {
        std::uint32_t value = 0;
        for (std::size_t i = 0; i < 4 && bit_ / 8 + i < data_.size; i++)
            value |= std::uint32_t{data_.data[bit_ / 8 + i]} << (8 * i);
        return value >> (bit_ % 8) & ((1u << count) - 1);
    }
    void skip(int count) { bit_ += static_cast<std::size_t>(count); }
    unsigned take(int count) {
        const unsigned value = peek(count);
        skip(count);
        return value;
    }
    std::size_t bit() const { return bit_; }
    bool overrun() const { return bit_ > data_.size * 8; }

  private:
    ByteView data_;
    std::size_t bit_ = 0;
};

// True when the lengths make a complete code: every sequence of bits means something.
bool is_complete(const std::uint8_t* lengths, int n, int limit) {
    unsigned used = 0;
    for (int i = 0; i < n; i++) {
        if (lengths[i] > limit) return false;
        if (lengths[i] > 0) used += 1u << (limit - lengths[i]);
    }
    return used == 1u << limit;
}

// The table, from the code lengths. An entry of a symbol s of l bits leaves b = 12 - l bits for what
// follows: those entries differ only in what one or two symbols fit b bits, which is the same for all
// symbols of l bits.
void fill_table(const std::uint8_t lengths[257], LiteralTable& table) {
    constexpr std::uint32_t kHalf = 1u << (kLiteralBits - 1);
    std::uint16_t codes[257];
    huffman_codes(lengths, 257, codes);
    std::uint32_t one[kHalf];   // by 11 bits: the first symbol, as an entry; its bits may be more than 11
    std::uint32_t two[kHalf];   // two, where they fit
    std::uint32_t rest[kHalf];  // what follows a symbol, ready to be added to its entry
    const auto fits = [](std::uint32_t entry, std::uint32_t bits) {
        return (entry & 63) != 0 && (entry & 63) <= bits;
    };
    // The symbols by length: those of l bits are sorted[begins[l] .. begins[l + 1]).
    int begins[kLiteralBits + 2] = {};
    std::uint16_t sorted[257];
    for (int s = 0; s < 257; s++)
        if (lengths[s] > 0) begins[lengths[s] + 1]++;
    for (int l = 1; l <= kLiteralBits; l++) begins[l + 1] += begins[l];
    int next[kLiteralBits + 2];
    std::copy_n(begins, kLiteralBits + 2, next);
    for (int s = 0; s < 257; s++)
        if (lengths[s] > 0) sorted[next[lengths[s]]++] = static_cast<std::uint16_t>(s);
    // Calls use(length, code, its entry) for the symbols of each length in turn, begin(length) before.
    const auto by_length = [&](auto begin, auto use) {
        for (int l = 1; l <= kLiteralBits; l++) {
            if (begins[l] == begins[l + 1]) continue;
            const auto length = static_cast<std::uint32_t>(l);
            begin(length);
            for (int k = begins[l]; k < begins[l + 1]; k++) {
                const std::uint32_t symbol = sorted[k];
                use(length, codes[symbol], symbol == 256 ? 1u << 6 : length | 1u << 6 | symbol << 8);
            }
        }
    };
    const auto add = [](std::uint32_t following) { return (following & 0xFF) | (following & ~0xFFu) << 8; };
    by_length([](std::uint32_t) {},
              [&](std::uint32_t l, std::uint32_t code, std::uint32_t entry) {
                  // A code of 12 bits is at its lower 11; none of 11 or fewer can be there.
                  for (std::uint32_t i = code & (kHalf - 1); i < kHalf; i += 1u << l) one[i] = entry;
              });
    by_length(
        [&](std::uint32_t l) {
            const std::uint32_t bits = l < kLiteralBits ? kLiteralBits - 1 - l : 0;
            for (std::uint32_t i = 0; i < (1u << bits); i++) rest[i] = fits(one[i], bits) ? add(one[i]) : 0;
        },
        [&](std::uint32_t l, std::uint32_t code, std::uint32_t entry) {
            const bool ends = (entry & 63) == 0;
            for (std::uint32_t i = code & (kHalf - 1), k = 0; i < kHalf; i += 1u << l, k++)
                two[i] = ends ? entry : entry + rest[k];
        });
    by_length(
        [&](std::uint32_t l) {
            const std::uint32_t bits = kLiteralBits - l;
            for (std::uint32_t i = 0; i < (1u << bits); i++)
                rest[i] = fits(two[i], bits) ? add(two[i]) : fits(one[i], bits) ? add(one[i]) : 0;
        },
        [&](std::uint32_t l, std::uint32_t code, std::uint32_t entry) {
            const bool ends = (entry & 63) == 0;
            for (std::uint32_t i = code, k = 0; i <= kMask; i += 1u << l, k++)
                table.entries[i] = ends ? entry : entry + rest[k];
        });
}

}  // namespace

namespace {

// Compares headers but for the first bit, which says whether the block is the last.
bool is_same_header(ByteView data, int bits, const LiteralTable& table) {
    const auto whole = static_cast<std::size_t>(bits / 8);
    if (bits != table.header_bits || whole >= data.size) return false;
    const int left = (1 << (bits % 8)) - 1;
    return ((data.data[0] ^ table.header[0]) & 0xFE) == 0 &&
           std::memcmp(data.data + 1, table.header + 1, whole - 1) == 0 &&
           ((data.data[whole] ^ table.header[whole]) & left) == 0;
}

}  // namespace

bool read_literal_header(ByteView data, int header_bits, LiteralTable& table) {
    if (header_bits < 32 || header_bits / 8 >= kMaxLiteralHeader) return false;
    if (is_same_header(data, header_bits, table)) return true;
    table.header_bits = 0;
    BitReader in(data);
    in.skip(1);
    if (in.take(2) != 2) return false;
    if (in.take(5) != 0 || in.take(5) != 0) return false;  // no lengths, one distance code
    const int shown = static_cast<int>(in.take(4)) + 4;
    std::uint8_t meta[19] = {};
    for (int i = 0; i < shown; i++) meta[kOrder[i]] = static_cast<std::uint8_t>(in.take(3));
    if (!is_complete(meta, 19, 7)) return false;
    std::uint16_t codes[19];
    huffman_codes(meta, 19, codes);
    std::uint8_t symbols[128];
    for (int s = 0; s < 19; s++)
        if (meta[s] > 0)
            for (unsigned i = codes[s]; i < 128; i += 1u << meta[s])
                symbols[i] = static_cast<std::uint8_t>(s);
    std::uint8_t lengths[258];
    for (int n = 0; n < 258;) {
        if (in.overrun()) return false;
        const int s = symbols[in.peek(7)];
        in.skip(meta[s]);
        int repeat = 1;
        std::uint8_t length = static_cast<std::uint8_t>(s);
        if (s == 16) {
            if (n == 0) return false;
            length = lengths[n - 1];
            repeat = 3 + static_cast<int>(in.take(2));
        } else if (s >= 17) {
            length = 0;
            repeat = s == 17 ? 3 + static_cast<int>(in.take(3)) : 11 + static_cast<int>(in.take(7));
        }
        if (repeat > 258 - n) return false;
        while (repeat-- > 0) lengths[n++] = length;
    }
    if (in.overrun() || lengths[256] == 0 || !is_complete(lengths, 257, kLiteralBits)) return false;
    if (in.bit() != static_cast<std::size_t>(header_bits)) return false;
    fill_table(lengths, table);
    table.header_bits = header_bits;
    std::memcpy(table.header, data.data, static_cast<std::size_t>(header_bits / 8 + 1));
    return true;
}

}  // namespace gs
