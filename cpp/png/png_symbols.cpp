#include "png/png_symbols.hpp"

#include <cstring>

#include "base/cpu.hpp"

#define GS_INLINE inline __attribute__((always_inline))
// The loops that copy a match run once or twice: longer steps, which the compiler would try, only cost.
#define GS_NO_VECTOR(pointer) __asm__("" : "+r"(pointer))

namespace gs::png {
namespace {

GS_INLINE void copy_8(std::uint8_t* to, const std::uint8_t* from) {
    std::uint64_t v;
    std::memcpy(&v, from, 8);
    std::memcpy(to, &v, 8);
}

GS_INLINE void copy_16(std::uint8_t* to, const std::uint8_t* from) {
    std::uint64_t v[2];
    std::memcpy(v, from, 16);
    std::memcpy(to, v, 16);
}

// A match: `length` bytes from `distance` bytes back; source and target overlap when the distance is smaller.
// Writes up to 32 bytes too much.
GS_INLINE void copy_match(std::uint8_t* out, unsigned distance, unsigned length) {
    const std::uint8_t* from = out - distance;
    std::uint8_t* const end = out + length;
    if (distance >= 16) {
        copy_16(out, from);
        while (__builtin_expect(out + 16 < end, 0)) {
            out += 16;
            from += 16;
            copy_16(out, from);
            GS_NO_VECTOR(out);
        }
    } else if (distance >= 8) {
        do {
            copy_8(out, from);
            out += 8;
            from += 8;
            GS_NO_VECTOR(out);
        } while (out < end);
    } else {
        // A pattern of `distance` bytes, as often as it fits into 8; each store goes on where whole ones end.
        static constexpr std::uint64_t kRepeat[8] = {0,
                                                     0x0101010101010101,
                                                     0x0001000100010001,
                                                     0x0001000001000001,
                                                     0x0000000100000001,
                                                     0x0000010000000001,
                                                     0x0001000000000001,
                                                     0x0100000000000001};
        static constexpr std::uint8_t kWhole[8] = {0, 8, 8, 6, 8, 5, 6, 7};
        std::uint64_t pattern;
        std::memcpy(&pattern, from, 8);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        pattern = __builtin_bswap64(pattern);
#endif
        pattern = (pattern & ((std::uint64_t{1} << (8 * distance)) - 1)) * kRepeat[distance];
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        pattern = __builtin_bswap64(pattern);
#endif
        const unsigned whole = kWhole[distance];
        do {
            std::memcpy(out, &pattern, 8);
            out += whole;
            GS_NO_VECTOR(out);
        } while (out < end);
    }
}

// Writes a byte too much, of which nothing is known.
GS_INLINE std::uint8_t* put_literals(std::uint8_t* out, Entry entry) {
    Entry bytes = entry >> kLiteralShift;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    bytes = __builtin_bswap32(bytes);
#endif
    std::memcpy(out, &bytes, 4);
    return out + ((entry & kCountMask) >> kCountShift);
}

// The extra bits of a length or distance: those of the entry's bits that lie above the code's own.
GS_INLINE unsigned extra_bits(std::uint64_t bits, Entry entry) {
    const std::uint64_t all = bits & ((std::uint64_t{1} << (entry & kBitsMask)) - 1);
    return static_cast<unsigned>(all >> (entry >> kCodeBitsShift & 15));
}

// Keeps the compiler from moving a load into the branch that needs it.
#define GS_NOW(value) __asm__("" : "+r"(value))

GS_INLINE SymbolsEnd decode(BitReader& shared, const HuffmanTables& tables, const std::uint8_t* begin,
                            std::uint8_t*& shared_out, const std::uint8_t* limit) {
    const std::uint8_t* const safe = shared.safe();
    BitBuffer r = shared;
    std::uint8_t* out = shared_out;
    const Entry* const literal = tables.literal;
    const Entry* const distance = tables.distance;
    r.refill();
    Entry entry = literal[r.peek(kLiteralBits)];
    SymbolsEnd why;
    while (true) {
        // Here: 56 bits or more, none of them of the entry used.
        if (__builtin_expect((out >= limit) | (r.in > safe), 0)) {
            why = out >= limit ? SymbolsEnd::limit : SymbolsEnd::input;
            break;
        }
        std::uint64_t bits = r.bits;
        r.drop(entry);
        Entry after_literal = literal[r.peek(kLiteralBits)], after_length = distance[r.peek(kDistanceBits)];
        GS_NOW(after_literal);
        GS_NOW(after_length);
        if (entry & kCountMask) {
            out = put_literals(out, entry);
            entry = after_literal;
            bits = r.bits;
            r.drop(entry);
            after_literal = literal[r.peek(kLiteralBits)];
            after_length = distance[r.peek(kDistanceBits)];
            GS_NOW(after_literal);
            GS_NOW(after_length);
            r.refill();
            if (entry & kCountMask) {
                out = put_literals(out, entry);
                entry = after_literal;
                continue;
            }
        }
        if (__builtin_expect((entry & kRegularMask) == 0, 0)) {
            if (entry & kSubtable) {
                r.drop(kLiteralBits);
                entry = literal[(entry >> kBaseShift) + r.peek(entry >> kCodeBitsShift & 15)];
            }
            if (entry & kCountMask) {
                out = put_literals(out, entry);
                r.drop(entry);
                r.refill();
                entry = literal[r.peek(kLiteralBits)];
                continue;
            }
            if ((entry & kRegularMask) == 0) {
                r.drop(entry >> kCodeBitsShift & 15);
                why = entry & kEndOfBlock ? SymbolsEnd::end_of_block : SymbolsEnd::damaged;
                break;
            }
            bits = r.bits;
            r.drop(entry);
            r.refill();
            after_length = distance[r.peek(kDistanceBits)];
        }
        const unsigned length = (entry >> kBaseShift) + extra_bits(bits, entry);
        entry = after_length;
        if (__builtin_expect((entry & kRegularMask) == 0, 0)) {
            r.refill();
            if (entry & kSubtable) {
                r.drop(kDistanceBits);
                entry = distance[(entry >> kBaseShift) + r.peek(entry >> kCodeBitsShift & 15)];
            }
            if ((entry & kRegularMask) == 0) {
                why = SymbolsEnd::damaged;
                break;
            }
        }
        bits = r.bits;
        r.drop(entry);
        const unsigned far = (entry >> kBaseShift) + extra_bits(bits, entry);
        entry = literal[r.peek(kLiteralBits)];
        r.refill();
        if (__builtin_expect(far > static_cast<std::size_t>(out - begin), 0)) {
            why = SymbolsEnd::damaged;
            break;
        }
        copy_match(out, far, length);
        out += length;
    }
    static_cast<BitBuffer&>(shared) = r;
    shared_out = out;
    return why;
}

SymbolsEnd decode_plain(BitReader& reader, const HuffmanTables& tables, const std::uint8_t* begin,
                        std::uint8_t*& out, const std::uint8_t* limit) {
    return decode(reader, tables, begin, out, limit);
}

#if defined(__x86_64__)
// The same in other words: shifts by a variable without the flags.
__attribute__((target("bmi,bmi2"))) SymbolsEnd decode_bmi2(BitReader& reader, const HuffmanTables& tables,
                                                           const std::uint8_t* begin, std::uint8_t*& out,
                                                           const std::uint8_t* limit) {
    return decode(reader, tables, begin, out, limit);
}
#endif

}  // namespace

SymbolsEnd decode_symbols(BitReader& reader, const HuffmanTables& tables, const std::uint8_t* begin,
                          std::uint8_t*& out, const std::uint8_t* limit) {
#if defined(__x86_64__)
    if (simd_level() >= Simd::avx2) return decode_bmi2(reader, tables, begin, out, limit);
#endif
    return decode_plain(reader, tables, begin, out, limit);
}

}  // namespace gs::png
