// Decodes blocks of literals (literal_block.hpp) from any known place in them, several places at once.
#pragma once

#include <cstddef>
#include <cstdint>

#include "bands/literal_block.hpp"
#include "base/types.hpp"

namespace gs {

// For every value of the next 12 bits: the symbols that are whole in them, up to three. An entry holds the
// bits they take in bits 0..5, their number in bits 6..7 and the symbols from bit 8 on. The end-of-block
// symbol takes no bits here: a reader who meets it stands still.
struct LiteralTable {
    std::uint32_t entries[1 << kLiteralBits];
    // The header that the entries are of: what follows may say the same, then they stay.
    int header_bits = 0;
    std::uint8_t header[kMaxLiteralHeader] = {};
};

// Reads a block's header at the first bit of `data`, which takes `header_bits` bits, and makes the table.
// False when it is not the header of a dynamic block of literals whose code fits.
bool read_literal_header(ByteView data, int header_bits, LiteralTable& table);

// A run of symbols to be decoded.
struct LiteralRun {
    std::size_t bit;      // where it begins
    std::size_t end;      // where its last symbol ends; 0: not known
    std::uint8_t* to;     // where the symbols go
    std::size_t symbols;  // how many
};

// The one symbol that begins at a bit, or -1.
int decode_literal(ByteView data, const LiteralTable& table, std::size_t bit);

// Decodes `count` runs of a block in `data` (bit 0: the first of the block's header). Nothing is written
// outside the runs' places. False when a run does not fit the data or its end.
bool decode_literals(ByteView data, const LiteralTable& table, const LiteralRun* runs, int count);

}  // namespace gs
