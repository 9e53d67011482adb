// The inner loop of inflate: the symbols of a block with Huffman codes.
#pragma once

#include <cstdint>

#include "png/png_bits.hpp"
#include "png/png_huffman.hpp"

namespace gs::png {

// Bytes that decode_symbols may write beyond its limit: the symbols of one turn of its loop and what copying
// writes too much.
constexpr std::size_t kSymbolSlack = 512;

enum class SymbolsEnd : std::uint8_t { limit, input, end_of_block, damaged };

// Decodes until `out` reaches `limit`, the reader is not safe any more (before a turn of the loop), or the
// block ends. `begin` is where the stream's output began: matches must not reach before it.
SymbolsEnd decode_symbols(BitReader& reader, const HuffmanTables& tables, const std::uint8_t* begin,
                          std::uint8_t*& out, const std::uint8_t* limit);

}  // namespace gs::png
