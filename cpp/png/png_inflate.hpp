// The compressed image data of a PNG (a zlib stream, RFC 1950 and 1951) to filtered rows.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/types.hpp"
#include "png/png_bits.hpp"
#include "png/png_huffman.hpp"
#include "png/png_symbols.hpp"

namespace gs::png {

// Bytes that inflating may write beyond what it is asked for.
constexpr std::size_t kInflateSlack = kSymbolSlack;

// Inflates in steps: a crop needs only the beginning, and what is inflated a little at a time is still in the
// cache when it is unfiltered. The output is one growing piece of memory, and what has been written must stay
// as it is until the stream is done.
class Inflater {
  public:
    enum class Status : std::uint8_t {
        more,  // as much as was asked for is there, and the stream goes on
        done,  // the stream ended, and its checksum is right
        truncated,
        damaged
    };

    // Begins a stream; `out` is where its first byte goes.
    void start(ByteView stream, std::uint8_t* out);

    // Where the last block of a stream of bare deflate blocks begins and ends, in bits. Inflates
    // them to `out`, which holds `size` bytes and kInflateSlack more. False when they are damaged or
    // give another size.
    bool find_last_block(ByteView blocks, std::uint8_t* out, std::size_t size, std::size_t& begin,
                         std::size_t& end);

    // Goes on until more than `wanted` bytes of the stream are there in all, or it ends. May write
    // kInflateSlack more; size() then counts them too.
    Status inflate_beyond(std::size_t wanted);

    // Bytes that are there; not to be relied on after an error.
    std::size_t size() const { return static_cast<std::size_t>(out_ - begin_); }

  private:
    enum class Step : std::uint8_t { header, stored, coded, trailer, done };

    bool refill();
    bool read_block_header();
    bool read_codes();
    bool set_fixed_codes();
    void copy_stored(const std::uint8_t* limit);
    bool checksum_is_right();
    Status failed(Status status) const { return reader_.overran() ? Status::truncated : status; }

    BitReader reader_;
    std::uint8_t* begin_ = nullptr;
    std::uint8_t* out_ = nullptr;
    std::size_t stored_left_ = 0;
    Step step_ = Step::header;
    std::size_t block_ = 0;  // where the block's header is, in bits
    bool begun_ = false;     // the zlib header has been read
    bool is_last_ = false;
    bool fixed_codes_ = false;  // the tables hold the fixed codes
    HuffmanTables tables_;
};

// How much there is before the damage of a stream, by zlib: slower and exact to the byte. At
// most `wanted` bytes.
std::size_t inflate_partially(ByteView stream, std::uint8_t* out, std::size_t wanted);

}  // namespace gs::png
