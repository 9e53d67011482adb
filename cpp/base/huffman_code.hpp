// Length-limited Huffman codes as deflate (RFC 1951) wants them.
#pragma once

#include <cstdint>

namespace gs {

// The code lengths, at most `limit` bits, that code the counts in the fewest bits (package-merge). A symbol
// that does not occur gets length 0; when only one occurs it gets length 1. `n` <= 288 and n <= 2^limit.
void huffman_lengths(const std::uint32_t* counts, int n, int limit, std::uint8_t* lengths);

// The canonical code of those lengths, bits reversed: ready to be written least significant bit first.
void huffman_codes(const std::uint8_t* lengths, int n, std::uint16_t* codes);

}  // namespace gs
