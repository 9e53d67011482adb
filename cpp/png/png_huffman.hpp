// Decoding tables for the Huffman codes of deflate (RFC 1951).
//
// A table is looked up with the next kLiteralBits (or kDistanceBits) bits of the stream. What makes it fast
// for PNG: filtered rows are mostly literals of three to six bits, and an entry holds as many literals as fit
// into the bits looked up, up to three. Codes longer than the lookup go through a second, smaller table.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gs::png {

constexpr int kMaxCodeBits = 15;
constexpr int kLiteralBits = 12;
constexpr int kDistanceBits = 9;
constexpr int kLengthCodeBits = 7;  // for the codes that code the lengths of codes

// An entry, from its lowest bit:
//   6 bits   how many bits of the stream it takes, extra bits included
//   2 bits   how many literals it holds: 1 to 3; they are the three bytes above
// and without literals, for a length or distance
//   4 bits   how many of the bits are the code's own; what lies above them are extra bits
//   4 bits   flags
//   16 bits  base of the length or distance
// An entry whose lowest 8 bits are zero is something else: the end of the block (the code's bits as above),
// no code at all, or a subtable: where it begins in place of the base, and its bits in place of the code's.
using Entry = std::uint32_t;
constexpr Entry kBitsMask = 0x3f, kCountMask = 0xc0, kRegularMask = 0xff;
constexpr int kCountShift = 6, kLiteralShift = 8, kCodeBitsShift = 8, kBaseShift = 16;
constexpr Entry kSubtable = 1 << 12, kDistance = 1 << 13, kEndOfBlock = 1 << 14, kInvalid = 1 << 15;

struct HuffmanTables {
    // Bounds of the subtables: a subtable of 2^k entries holds at least k + 1 codes of at most 288 (32).
    alignas(64) Entry literal[(1 << kLiteralBits) + 1024];
    alignas(64) Entry distance[(1 << kDistanceBits) + 512];

    // From the lengths of the codes. False when the lengths are not those of a code that zlib would take:
    // they must fill the code space, except that a single code of one bit may be alone, and a distance code
    // may be empty. `several` makes entries with several literals: worth it when the block is not short.
    bool build(const std::uint8_t* literal_lengths, int literals, const std::uint8_t* distance_lengths,
               int distances, bool several);
};

// The code of the code lengths: entries' base is the symbol.
bool build_length_code(const std::uint8_t (&lengths)[19], Entry (&table)[1 << kLengthCodeBits]);

}  // namespace gs::png
