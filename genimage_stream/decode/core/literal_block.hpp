// Deflate blocks (RFC 1951) that hold literals alone, coded by one Huffman code of at most 12 bits.
//
// Photographs, once filtered, repeat themselves hardly ever: matches save a per cent or two and cost the
// reader the freedom to begin anywhere. Without them every symbol stands for itself, so that a reader who
// knows the code and the position of a bit can begin there, and follow several places of a block at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace gs {

constexpr int kLiteralBits = 12;  // the longest code

// Appends bits, least significant first, to a vector of bytes.
class BitWriter {
  public:
    explicit BitWriter(std::vector<std::uint8_t>& out) : out_(out), begin_(out.size()) {}

    // At most 48 bits at once.
    void put(std::uint64_t bits, int count) {
        held_ |= bits << count_;
        count_ += count;
        while (count_ >= 8) {
            out_.push_back(static_cast<std::uint8_t>(held_));
            held_ >>= 8;
            count_ -= 8;
        }
    }
    // Of what was written since the writer was made.
    std::size_t bits() const { return (out_.size() - begin_) * 8 + static_cast<std::size_t>(count_); }
    void align() {
        if (count_ > 0) put(0, 8 - count_);
    }
    // Appends the codes of `size` symbols; the fast form of many calls of put.
    void put_symbols(const std::uint8_t* symbols, std::size_t size, const std::uint16_t* codes,
                     const std::uint8_t* lengths);

  private:
    std::vector<std::uint8_t>& out_;
    std::size_t begin_;
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
