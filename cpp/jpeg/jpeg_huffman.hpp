// Huffman decoding of the blocks of a sequential JPEG (ITU-T T.81, F.2.2).
//
// Why this is fast:
// * The bytes come without stuffing and markers (jpeg_entropy.hpp), with padding behind them: refilling the bit
//   buffer is a load, a shift and an or, without a branch.
// * What limits the speed is one chain: bits -> table entry -> shift -> bits. The entry holds the lengths of codes
//   *and* of the value bits behind them, so that each step of the chain is a shift, a load and a shift. Getting the
//   value out, its sign, its place in the block and the store hang off that chain and run beside it.
// * Two coefficients per step where the second one is complete within the table's bits (about half of all steps in
//   photographs of high quality); as many as fit when a block is passed over.
// * One branch for each step: end of block and rare codes are entries with runs so long that the ordinary loop
//   condition ends the loop. Their stores go to a dummy place behind the block. So does a second coefficient that
//   turns out to belong to the next block; the step is then taken back.
// * Three steps per refill: entries for which that could run out of bits count as rare.
#pragma once

#include <cstdint>
#include <cstring>

#include "jpeg/jpeg_header.hpp"

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
    // Takes the last `n` bits back.
    GS_INLINE void unskip(std::uint32_t n) {
        const std::size_t at = bits_used() - n;
        next = begin + at / 8;
        bits = 0;
        count = 0;
        refill();
        skip(at % 8);
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

// A step of the AC decoder, by the next kBits bits: a first coefficient, and a second one where
// it is complete.
struct AcStep {
    std::uint8_t bits;     // of everything in this step
    std::uint8_t run;      // zeros before the first coefficient; kEndOfBlock; kRare
    std::uint8_t length;   // of the first code
    std::uint8_t size;     // of the first value
    std::int16_t second;   // value of the second coefficient
    std::uint8_t advance;  // places from the first to the second coefficient; 0: none; > kEndOfBlock: the end
    std::uint8_t unused;

    static constexpr std::uint32_t kEndOfBlock = 128;
    static constexpr std::uint32_t kRare = 255;
};

struct HuffmanTable {
    static constexpr int kBits = 10;      // codes longer than this are rare
    static constexpr int kMostBits = 18;  // in a step, so that three fit into 56 bits

    // DC and refinement tables: bits 0-7 length of code and value, 16-23 length of the code, 24-31 63 minus
    // the length of the value; 8-15 kRare for codes that are not in the table. AC tables, for passing over
    // blocks: bits 0-7 length of all that the entry holds, 8-15 places that it advances, kEndOfBlock more at
    // the end of a block.
    std::uint32_t entry[1 << kBits];
    AcStep step[1 << kBits];

    // For the rare codes: of each length the codes, shifted up to 16 bits, end below limit[length];
    // symbols[base[length] + code] is the symbol.
    std::uint32_t limit[17];
    std::int32_t base[17];
    std::uint8_t symbols[256];

    enum class Use {
        dc,
        ac,             // of sequential scans
        ac_first,       // of progressive scans: an end of block may end a run of blocks
        ac_refinement,  // only `entry`, one code each
    };
    // False when the table is not one (libjpeg says what is wrong with it).
    bool build(const HuffmanSpec& spec, Use use);
    // The symbol of the code that `top16` begins with, its length in `length`; -1: no such code.
    int find(std::uint32_t top16, std::uint32_t& length) const;

  private:
    bool build_codes(const HuffmanSpec& spec);
    void pair_up();

    std::uint8_t spec_[16 + 256];  // what was built last: files of one origin share tables
    int spec_size_ = 0;
    Use use_ = Use::dc;
    bool spec_ok_ = false;
};

// The value of a coefficient of `size` bits, which follow `length` bits of code (T.81, F.2.2.1 EXTEND).
// `shift` is 63 - size; size 0 gives 0.
GS_INLINE std::int32_t coefficient(std::uint64_t bits, std::uint32_t length, std::uint32_t shift) {
    const std::uint64_t from_value = bits << (length & 63);
    const auto negative = static_cast<std::uint64_t>(~(static_cast<std::int64_t>(from_value) >> 63));
    const std::uint64_t magnitude = ((from_value ^ negative) >> 1) >> (shift & 63);
    return static_cast<std::int32_t>((magnitude ^ negative) - negative);
}

inline constexpr std::int16_t kNegativeOffset[16] = {0,    -1,   -3,    -7,    -15,   -31,   -63,    -127,
                                                     -255, -511, -1023, -2047, -4095, -8191, -16383, -32767};

// The same for sizes from 1 to 10, in fewer instructions: 1 - 2^size is what a leading 0 adds to the bits.
GS_INLINE std::int32_t first_value(std::uint64_t bits, std::uint32_t length, std::uint32_t size) {
    const std::uint64_t from_value = bits << (length & 63);
    const auto positive = static_cast<std::int32_t>(from_value >> ((64 - size) & 63));
    const std::int32_t negative = positive + kNegativeOffset[size];
    return static_cast<std::int64_t>(from_value) < 0 ? positive : negative;
}

constexpr std::uint32_t kDoubt = 0;  // returned by the functions below for data that is left to libjpeg

// Out of line: an AC symbol whatever its length. Returns the new position in zigzag order (65 and more: end
// of block), `value` for position - 1; kDoubt for what is not in a sound file.
std::uint32_t rare_symbol(BitReader& in, const HuffmanTable& table, std::uint32_t k, std::int32_t& value);
std::int32_t rare_difference(BitReader& in, const HuffmanTable& table, bool& doubt);

// The DC coefficient of the next block, added to `predictor`; false for what is not in a sound file.
GS_INLINE bool decode_dc(BitReader& in, const HuffmanTable& dc, std::int32_t& predictor) {
    const std::uint32_t e = dc.entry[in.bits >> (64 - HuffmanTable::kBits)];
    if (GS_LIKELY((e >> 8 & 255) != AcStep::kRare)) {
        predictor += coefficient(in.bits, e >> 16, e >> 24);
        in.skip(e & 255);
    } else {
        bool doubt = false;
        BitReader outside = in;
        predictor += rare_difference(outside, dc, doubt);
        in = outside;
        if (doubt) return false;
    }
    return GS_LIKELY(static_cast<std::int16_t>(predictor) == predictor);
}

// Decodes one block into `block`, whose entries are zero; place[k] is where the coefficient of zigzag
// position k goes, with dummy places for k = 64..575. Returns the number of positions up to the end of the
// block, 1 to 64, or kDoubt. `predictor` is the DC value of the component's last block.
GS_INLINE std::uint32_t decode_block(BitReader& reader, const HuffmanTable& dc, const HuffmanTable& ac,
                                     std::int32_t& predictor, std::int16_t* block,
                                     const std::uint8_t* place) {
    BitReader in = reader;
    in.refill();
    if (!decode_dc(in, dc, predictor)) return kDoubt;
    block[0] = static_cast<std::int16_t>(predictor);
    std::uint32_t k = 1;
    const AcStep* e = nullptr;
    const auto step = [&]() __attribute__((always_inline)) {
        e = ac.step + (in.bits >> (64 - HuffmanTable::kBits));
        k += e->run;
        // The second one first: where there is none, its place is that of the first, which overwrites it.
        block[place[k + e->advance]] = e->second;
        block[place[k]] = static_cast<std::int16_t>(first_value(in.bits, e->length, e->size));
        k += e->advance + 1u;
        in.skip(e->bits);
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
        // The place after the first coefficient alone.
        const std::uint32_t first = k - e->advance;
        if (GS_LIKELY(k > AcStep::kEndOfBlock && first < 64)) {
            k -= AcStep::kEndOfBlock + 1;  // the second was the end of the block
            break;
        }
        if (GS_LIKELY(first > AcStep::kEndOfBlock && first <= AcStep::kRare)) {
            k -= AcStep::kEndOfBlock + 1;
            break;
        }
        if (k == 64) break;
        if (first <= 64) {
            // The second coefficient runs past the end: with a block that ends here it belongs to
            // the next one.
            in.unskip(e->bits);
            k = first - 1 - e->run;
        } else if (first > AcStep::kRare) {
            k = first - 1 - AcStep::kRare;
        } else {
            return kDoubt;  // a run past the end of the block
        }
        std::int32_t value = 0;
        BitReader outside = in;  // a copy, so that `in` itself stays in registers
        k = rare_symbol(outside, ac, k, value);
        in = outside;
        if (k == kDoubt) return kDoubt;
        if (k > AcStep::kEndOfBlock) {
            k -= AcStep::kEndOfBlock + 1;
            break;
        }
        if (k > 64) return kDoubt;
        if (value != 0) block[place[k - 1]] = static_cast<std::int16_t>(value);
        if (k == 64) break;
        in.refill();
    }
    reader = in;
    return k;
}

// Passes over one block, keeping the DC prediction; false for what is not in a sound file.
GS_INLINE bool skip_block(BitReader& reader, const HuffmanTable& dc, const HuffmanTable& ac,
                          std::int32_t& predictor) {
    BitReader in = reader;
    in.refill();
    if (!decode_dc(in, dc, predictor)) return false;
    std::uint32_t k = 1, e = 0;
    const auto step = [&]() __attribute__((always_inline)) {
        e = ac.entry[in.bits >> (64 - HuffmanTable::kBits)];
        k += e >> 8 & 255;
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
        if (k == 64 || (k >= AcStep::kEndOfBlock && k < AcStep::kEndOfBlock + 64)) break;
        // A rare code, or several codes of which the last belong to the next block: one at a time.
        k -= e >> 8 & 255;
        in.unskip(e & 255);
        std::int32_t value = 0;
        BitReader outside = in;
        k = rare_symbol(outside, ac, k, value);
        in = outside;
        if (k == kDoubt) return false;
        if (k == 64 || k > AcStep::kEndOfBlock) break;
        if (k > 64) return false;
        in.refill();
    }
    reader = in;
    return true;
}

}  // namespace gs::jpeg
