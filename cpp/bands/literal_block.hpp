// Deflate blocks (RFC 1951) that hold literals alone, coded by one Huffman code of at most 12 bits.
//
// Photographs, once filtered, repeat themselves hardly ever: matches save a per cent or two and cost the
// reader the freedom to begin anywhere. Without them every symbol is one byte, so that a reader who knows the
// code and the position of a bit can begin there, and follow several places of a block at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace gs {

constexpr int kLiteralBits = 12;        // the longest code
constexpr int kMaxLiteralHeader = 512;  // bytes; 258 lengths of at most 7 + 7 bits each would take 463

// Writes bits, least significant first, to memory that the caller has made sure of: 8 bytes more
// than are written.
class BitWriter {
  public:
    explicit BitWriter(std::uint8_t* to) : begin_(to), to_(to) {}

    // At most 48 bits at once.
    void put(std::uint64_t bits, int count) {
        held_ |= bits << count_;
        count_ += count;
        store();
    }
    std::size_t bits() const {
        return static_cast<std::size_t>(to_ - begin_) * 8 + static_cast<std::size_t>(count_);
    }
    // Fills the last byte with zeros.
    void align() {
        if (count_ > 0) put(0, 8 - count_);
    }
    // Behind the last whole byte.
    std::uint8_t* end() const { return to_; }
    // The codes of `size` symbols; the fast form of many calls of put.
    void put_symbols(const std::uint8_t* symbols, std::size_t size, const std::uint16_t* codes,
                     const std::uint8_t* lengths);

  private:
    // Stores a whole word; the place moves by the bytes that are complete.
    void store() {
        std::uint64_t word = held_;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        word = __builtin_bswap64(word);
#endif
        std::memcpy(to_, &word, 8);
        to_ += count_ >> 3;
        held_ >>= count_ & ~7;
        count_ &= 7;
    }

    std::uint8_t* begin_;
    std::uint8_t* to_;
    std::uint64_t held_ = 0;
    int count_ = 0;
};

// The code of a block: what its symbols are written with.
struct LiteralCode {
    std::uint8_t lengths[257];
    std::uint16_t codes[257];
};

// The best code for those counts; the end-of-block symbol is counted once.
LiteralCode make_literal_code(const std::uint32_t counts[256]);

// The header of a dynamic block with that code.
void put_literal_header(BitWriter& to, const LiteralCode& code, bool final_block);

}  // namespace gs
