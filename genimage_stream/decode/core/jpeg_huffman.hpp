// Huffman decoding of the blocks of a sequential JPEG (ITU-T T.81, F.2.2).
//
// Why this is fast:
// * The bytes come without stuffing and markers (jpeg_entropy.hpp), with padding behind them: refilling the
// bit buffer
//   is a load, a shift and an or, without a branch.
// * What limits the speed is one chain: bits -> table entry -> shift -> bits. The entry holds the length of
// the code
//   *and* of the value bits behind it, so that the chain is a shift, a load and a shift for each coefficient.
//   Getting the value out, its sign, its place in the block and the store hang off that chain and run beside
//   it.
// * One branch for each coefficient: end of block and rare codes are entries with runs so long that the
// ordinary loop
//   condition ends the loop. Their stores go to a dummy place behind the block.
// * Three coefficients per refill: entries for which that could run out of bits count as rare.
#pragma once

#include <cstdint>
#include <cstring>

#include "jpeg_header.hpp"

#if defined(__GNUC__)
#define GS_INLINE inline __attribute__((always_inline))
#define GS_LIKELY(x) __builtin_expect(!!(x), 1)
#define GS_UNLIKELY(x) __builtin_expect(!!(x), 0)
#else
#define GS_INLINE inline
#define GS_LIKELY(x) (x)
#define GS_UNLIKELY(x) (x)
#endif

namespace gs::jpeg {

struct BitReader {
    std::uint64_t bits = 0;              // the next bits, first one on top
    std::uint32_t count = 0;             // how many of them may be used
    const std::uint8_t* next = nullptr;  // where to go on loading
    const std::uint8_t* begin = nullptr;
    std::size_t size = 0;

    BitReader() = default;
    BitReader(const std::uint8_t* data, std::size_t bytes) : next(data), begin(data), size(bytes) {}

    // At least 56 bits. Bits below `count` may already be there; loading them again changes nothing.
    GS_INLINE void refill() {
        std::uint64_t word;
        std::memcpy(&word, next, 8);
#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        word = __builtin_bswap64(word);
#endif
        bits |= word >> count;
        next += (63 - count) >> 3;
        count |= 56;
    }
    GS_INLINE void skip(std::uint32_t n) {
        bits <<= n & 63;
        count -= n;
    }
    GS_INLINE std::size_t bits_used() const {
        return static_cast<std::size_t>(next - begin) * 8 - count;
    }
    GS_INLINE bool overrun() const {
        return bits_used() > size * 8;
    }
    // Everything used except the bits that fill up the last byte.
    GS_INLINE bool at_end() const {
        return bits_used() <= size * 8 && bits_used() + 8 > size * 8;
    }
};

struct HuffmanTable {
    static constexpr int kBits = 10;  // codes longer than this are rare
    static constexpr std::uint32_t kMostBits =
        18;  // of code and value together, so that three fit into 56 bits

    // By the next kBits bits: bits 0-7 length of code and value together; 8-15 zeros before the coefficient
    // (kEndOfBlock, kRare); 16-23 length of the code alone; 24-31 63 minus the length of the value.
    std::uint32_t entry[1 << kBits];
    static constexpr std::uint32_t kEndOfBlock = 128;
    static constexpr std::uint32_t kRare = 255;

    // For the rare codes: of each length the codes, shifted up to 16 bits, end below limit[length];
    // symbols[base[length]
    // + code] is the symbol.
    std::uint32_t limit[17];
    std::int32_t base[17];
    std::uint8_t symbols[256];

    // False when the table is not one (libjpeg says what is wrong with it).
    bool build(const HuffmanSpec& spec, bool is_dc);
    // The symbol of the code that `top16` begins with, its length in `length`; -1: no such code.
    int find(std::uint32_t top16, std::uint32_t& length) const;

  private:
    std::uint8_t spec_[16 + 256];  // what was built last: files of one origin share tables
    int spec_size_ = 0;
    bool spec_ok_ = false;
};

// The value of a coefficient of `size` bits, which stand behind `length` bits of code (T.81, F.2.2.1 EXTEND).
// `shift` is 63 - size; size 0 gives 0.
GS_INLINE std::int32_t coefficient(std::uint64_t bits, std::uint32_t length, std::uint32_t shift) {
    const std::uint64_t from_value = bits << (length & 63);
    const auto negative = static_cast<std::uint64_t>(~(static_cast<std::int64_t>(from_value) >> 63));
    const std::uint64_t magnitude = ((from_value ^ negative) >> 1) >> (shift & 63);
    return static_cast<std::int32_t>((magnitude ^ negative) - negative);
}

constexpr std::uint32_t kDoubt = 0;  // returned by the functions below for data that libjpeg shall judge

// Out of line: an AC symbol whatever its length. Returns the new position in zigzag order (65 and more: end
// of block), `value` for position - 1; kDoubt for what is not in a sound file.
std::uint32_t rare_symbol(BitReader& in, const HuffmanTable& table, std::uint32_t k, std::int32_t& value);
std::int32_t rare_difference(BitReader& in, const HuffmanTable& table, bool& doubt);

// Decodes one block into `block`, whose entries are zero; place[k] is where the coefficient of zigzag
// position k goes, with dummy places for k = 64..319. Returns the number of positions up to the end of the
// block, 1 to 64, or kDoubt. `predictor` is the DC value of the component's last block.
template <bool Store>
GS_INLINE std::uint32_t decode_block(BitReader& reader, const HuffmanTable& dc, const HuffmanTable& ac,
                                     std::int32_t& predictor, std::int16_t* block,
                                     const std::uint8_t* place) {
    BitReader in = reader;
    in.refill();
    std::uint32_t e = dc.entry[in.bits >> (64 - HuffmanTable::kBits)];
    if (GS_LIKELY((e >> 8 & 255) != HuffmanTable::kRare)) {
        predictor += coefficient(in.bits, e >> 16, e >> 24);
        in.skip(e & 255);
    } else {
        bool doubt = false;
        predictor += rare_difference(in, dc, doubt);
        if (doubt) return kDoubt;
    }
    if (GS_UNLIKELY(static_cast<std::int16_t>(predictor) != predictor)) return kDoubt;
    if (Store) block[0] = static_cast<std::int16_t>(predictor);
    std::uint32_t k = 1;
    const auto step = [&]() __attribute__((always_inline)) {
        e = ac.entry[in.bits >> (64 - HuffmanTable::kBits)];
        k += e >> 8 & 255;
        if (Store) block[place[k]] = static_cast<std::int16_t>(coefficient(in.bits, e >> 16, e >> 24));
        k++;
        in.skip(e & 255);
    };
    in.refill();
    while (true) {
        step();
        if (GS_UNLIKELY(k >= 64)) goto ended;
        step();
        if (GS_UNLIKELY(k >= 64)) goto ended;
        step();
        if (GS_UNLIKELY(k >= 64)) goto ended;
        in.refill();
        continue;
    ended:
        if (k > HuffmanTable::kRare) {
            std::int32_t value = 0;
            k = rare_symbol(in, ac, k - HuffmanTable::kRare - 1, value);
            if (k == kDoubt) return kDoubt;
            if (Store && value != 0) block[place[k - 1]] = static_cast<std::int16_t>(value);
            if (k < 64) {
                in.refill();
                continue;
            }
        }
        break;
    }
    reader = in;
    if (k == 64) return 64;
    if (k > HuffmanTable::kEndOfBlock) return k - HuffmanTable::kEndOfBlock - 1;
    return kDoubt;  // a run past the end of the block
}

}  // namespace gs::jpeg
