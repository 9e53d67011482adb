#include "png/png_huffman.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>

#include "base/cpu.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace gs::png {
namespace {

constexpr int kMaxSymbols = 288;

// RFC 1951, section 3.2.5.
constexpr std::uint16_t kLengthBase[29] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                           31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
constexpr std::uint8_t kLengthExtra[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                           2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
constexpr std::uint16_t kDistanceBase[30] = {1,    2,    3,    4,    5,    7,    9,    13,    17,    25,
                                             33,   49,   65,   97,   129,  193,  257,  385,   513,   769,
                                             1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};

// Entries for codes of no bits yet: the bits of the code are added to both fields.
Entry literal_entry(int symbol) {
    if (symbol < 256) return Entry{1} << kCountShift | static_cast<Entry>(symbol) << kLiteralShift;
    if (symbol == 256) return kEndOfBlock;
    if (symbol > 285) return kInvalid;
    return static_cast<Entry>(kLengthBase[symbol - 257]) << kBaseShift | kLengthExtra[symbol - 257];
}

Entry distance_entry(int symbol) {
    if (symbol > 29) return kInvalid;
    const Entry extra = symbol < 4 ? 0 : static_cast<Entry>(symbol / 2 - 1);
    return static_cast<Entry>(kDistanceBase[symbol]) << kBaseShift | kDistance | extra;
}

Entry with_code_bits(Entry entry, int bits) {
    if ((entry & kCountMask) == 0) entry += static_cast<Entry>(bits) << kCodeBitsShift;
    return entry & (kEndOfBlock | kInvalid) && !(entry & kCountMask) ? entry
                                                                     : entry + static_cast<Entry>(bits);
}

// The codes of a length are consecutive numbers whose bits come in the stream from the highest down, so that
// the lookup sees them reversed. Adds one to a reversed number of `bits` bits that are not all ones.
std::uint32_t next_reversed(std::uint32_t code, int bits) {
    std::uint32_t bit = std::uint32_t{1} << (bits - 1);
    while (code & bit) bit >>= 1;
    return (code & (bit - 1)) | bit;
}

// Fills a table for the code lengths. `entry_of` gives the entry of a symbol. `empty` says whether no code at
// all is a code.
template <class EntryOf>
bool fill(const std::uint8_t* lengths, int symbols, int table_bits, Entry* table, std::size_t room,
          bool empty, EntryOf entry_of) {
    int count[kMaxCodeBits + 1] = {};
    for (int i = 0; i < symbols; i++) count[lengths[i]]++;
    int longest = kMaxCodeBits;
    while (longest > 0 && count[longest] == 0) longest--;
    const std::size_t size = std::size_t{1} << table_bits;
    if (longest == 0) {
        std::fill_n(table, size, kInvalid);
        return empty;
    }
    int space = 1, first[kMaxCodeBits + 2] = {};
    for (int bits = 1; bits <= kMaxCodeBits; bits++) {
        space = 2 * space - count[bits];
        if (space < 0) return false;
        first[bits + 1] = first[bits] + count[bits];
    }
    if (space > 0 && longest > 1) return false;

    std::uint16_t sorted[kMaxSymbols];
    for (int i = 0; i < symbols; i++)
        if (lengths[i] != 0) sorted[first[lengths[i]]++] = static_cast<std::uint16_t>(i);

    if (space > 0) {  // one code of one bit: the other bit is no code
        std::fill_n(table, size, kInvalid);
        for (std::size_t i = 0; i < size; i += 2) table[i] = with_code_bits(entry_of(sorted[0]), 1);
        return true;
    }
    // For each number of bits, the table of that many bits: the codes of as many, and twice the table before.
    const std::uint16_t* symbol = sorted;
    std::uint32_t code = 0;
    int bits = 1;
    table[0] = 0;
    for (; bits <= table_bits; bits++) {
        std::memcpy(table + (std::size_t{1} << (bits - 1)), table, sizeof(Entry) << (bits - 1));
        const std::uint32_t last = (std::uint32_t{1} << bits) - 1;
        for (int n = count[bits]; n > 0; n--) {
            table[code] = with_code_bits(entry_of(*symbol++), bits);
            if (code == last) {  // the code space is full
                for (std::size_t have = std::size_t{1} << bits; have < size; have *= 2)
                    std::memcpy(table + have, table, have * sizeof(Entry));
                return true;
            }
            code = next_reversed(code, bits);
        }
    }
    // Longer codes: a subtable for every `table_bits` bits that begin some.
    std::size_t end = size, subtable = 0;
    int subtable_bits = 0;
    std::uint32_t prefix = ~std::uint32_t{0};
    for (; bits <= longest; bits++) {
        const std::uint32_t last = (std::uint32_t{1} << bits) - 1;
        for (int n = count[bits]; n > 0; n--) {
            if ((code & (size - 1)) != prefix) {
                prefix = code & static_cast<std::uint32_t>(size - 1);
                // As many bits as make its codes fill it: these n and longer ones.
                subtable_bits = bits - table_bits;
                for (int left = (1 << subtable_bits) - n; left > 0 && table_bits + subtable_bits < longest;) {
                    subtable_bits++;
                    left = 2 * left - count[table_bits + subtable_bits];
                }
                subtable = end;
                end += std::size_t{1} << subtable_bits;
                if (end > room) return false;
                table[prefix] = kSubtable | static_cast<Entry>(subtable) << kBaseShift |
                                static_cast<Entry>(subtable_bits) << kCodeBitsShift;
            }
            // The bits above the code's are free: the subtable repeats the entry for all of them.
            const int own_bits = bits - table_bits;
            const Entry entry = with_code_bits(entry_of(*symbol++), own_bits);
            for (std::size_t i = code >> table_bits; i < std::size_t{1} << subtable_bits;
                 i += std::size_t{1} << own_bits)
                table[subtable + i] = entry;
            if (code == last) return true;
            code = next_reversed(code, bits);
        }
    }
    return true;
}

#if defined(__x86_64__)
// Eight entries at a time: the same as join_literals below. An entry's looks at others go to lower places, or
// to its own eight, which are written after all are read.
__attribute__((target("avx2"))) void join_literals_avx2(Entry* table) {
    const __m256i bits_mask = _mm256_set1_epi32(kBitsMask), count_mask = _mm256_set1_epi32(kCountMask);
    const __m256i most = _mm256_set1_epi32(kLiteralBits), zero = _mm256_setzero_si256();
    const __m256i low = _mm256_set1_epi32(0xff), literal = _mm256_set1_epi32(0xff00);
    __m256i i = _mm256_add_epi32(_mm256_set1_epi32((1 << kLiteralBits) - 8),
                                 _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    const int* const from = reinterpret_cast<const int*>(table);
    for (Entry* at = table + (1 << kLiteralBits) - 8; at >= table; at -= 8) {
        const __m256i e1 = _mm256_load_si256(reinterpret_cast<const __m256i*>(at));
        const __m256i bits1 = _mm256_and_si256(e1, bits_mask);
        const __m256i e2 = _mm256_i32gather_epi32(from, _mm256_srlv_epi32(i, bits1), 4);
        const __m256i bits2 = _mm256_add_epi32(bits1, _mm256_and_si256(e2, bits_mask));
        const __m256i e3 = _mm256_i32gather_epi32(from, _mm256_srlv_epi32(i, bits2), 4);
        const __m256i bits3 = _mm256_add_epi32(bits2, _mm256_and_si256(e3, bits_mask));
        const __m256i not1 = _mm256_cmpeq_epi32(_mm256_and_si256(e1, count_mask), zero);
        const __m256i not2 = _mm256_or_si256(_mm256_cmpeq_epi32(_mm256_and_si256(e2, count_mask), zero),
                                             _mm256_cmpgt_epi32(bits2, most));
        const __m256i not3 = _mm256_or_si256(_mm256_cmpeq_epi32(_mm256_and_si256(e3, count_mask), zero),
                                             _mm256_cmpgt_epi32(bits3, most));
        const __m256i no_two = _mm256_or_si256(not1, not2), no_three = _mm256_or_si256(no_two, not3);
        const __m256i add2 =
            _mm256_add_epi32(_mm256_and_si256(e2, low), _mm256_slli_epi32(_mm256_and_si256(e2, literal), 8));
        const __m256i add3 =
            _mm256_add_epi32(_mm256_and_si256(e3, low), _mm256_slli_epi32(_mm256_and_si256(e3, literal), 16));
        const __m256i joined = _mm256_add_epi32(_mm256_add_epi32(e1, _mm256_andnot_si256(no_two, add2)),
                                                _mm256_andnot_si256(no_three, add3));
        _mm256_store_si256(reinterpret_cast<__m256i*>(at), joined);
        i = _mm256_sub_epi32(i, _mm256_set1_epi32(8));
    }
}
#endif

// Adds to entries of one literal the literals whose codes follow within the lookup's bits. From the last
// entry down, because an entry looks at ones before it (or at itself) that must hold a single literal still.
void join_literals(Entry* table) {
    const auto is_literal = [](Entry e) { return (e & kCountMask) != 0; };
    for (int i = (1 << kLiteralBits) - 1; i >= 0; i--) {
        const Entry e1 = table[i];
        const unsigned bits1 = e1 & kBitsMask;
        const Entry e2 = table[static_cast<unsigned>(i) >> bits1];
        const unsigned bits2 = bits1 + (e2 & kBitsMask);
        const Entry e3 = table[static_cast<unsigned>(i) >> (bits2 & 31)];
        const unsigned bits3 = bits2 + (e3 & kBitsMask);
        // No branches: which entries can be joined is hard to predict.
        const Entry two = -static_cast<Entry>(is_literal(e1) & is_literal(e2) & (bits2 <= kLiteralBits));
        const Entry three = two & -static_cast<Entry>(is_literal(e3) & (bits3 <= kLiteralBits));
        table[i] = e1 + (two & ((e2 & 0xff) + ((e2 & 0xff00) << 8))) +
                   (three & ((e3 & 0xff) + ((e3 & 0xff00) << 16)));
    }
}

}  // namespace

bool HuffmanTables::build(const std::uint8_t* literal_lengths, int literals,
                          const std::uint8_t* distance_lengths, int distances, bool several) {
    if (!fill(literal_lengths, literals, kLiteralBits, literal, std::size(literal), false, literal_entry) ||
        !fill(distance_lengths, distances, kDistanceBits, distance, std::size(distance), true,
              distance_entry))
        return false;
    if (several) {
#if defined(__x86_64__)
        if (simd_level() >= Simd::avx2)
            join_literals_avx2(literal);
        else
#endif
            join_literals(literal);
    }
    return true;
}

bool build_length_code(const std::uint8_t (&lengths)[19], Entry (&table)[1 << kLengthCodeBits]) {
    int used = 0;
    for (const std::uint8_t length : lengths) used += length != 0;
    // Unlike the others this code must fill its space.
    if (used < 2) return false;
    return fill(lengths, 19, kLengthCodeBits, table, std::size(table), false,
                [](int symbol) { return static_cast<Entry>(symbol) << kBaseShift; });
}

}  // namespace gs::png
