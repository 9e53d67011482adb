#include "bands/literal_block.hpp"

#include <algorithm>
#include <cstring>

#include "base/huffman_code.hpp"

namespace gs {
namespace {

constexpr int kEnd = 256;
// The order in which a block header gives the lengths of the code-length code (RFC 1951, 3.2.7).
constexpr std::uint8_t kOrder[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};

// A symbol of the run-length code of the code lengths, with its extra bits.
struct Run {
    std::uint8_t symbol;
    std::uint8_t extra;
};

int extra_bits(int symbol) {
    return symbol == 16 ? 2 : symbol == 17 ? 3 : symbol == 18 ? 7 : 0;
}

int run_lengths(const std::uint8_t* lengths, int n, Run* runs) {
    int out = 0;
    for (int i = 0; i < n;) {
        int same = 1;
        while (i + same < n && lengths[i + same] == lengths[i]) same++;
        const std::uint8_t length = lengths[i];
        i += same;
        if (length == 0) {
            for (; same >= 11; same -= std::min(same, 138))
                runs[out++] = {18, static_cast<std::uint8_t>(std::min(same, 138) - 11)};
            if (same >= 3) {
                runs[out++] = {17, static_cast<std::uint8_t>(same - 3)};
                same = 0;
            }
        } else {
            runs[out++] = {length, 0};
            same--;
            for (; same >= 3; same -= std::min(same, 6))
                runs[out++] = {16, static_cast<std::uint8_t>(std::min(same, 6) - 3)};
        }
        for (; same > 0; same--) runs[out++] = {length, 0};
    }
    return out;
}

}  // namespace

void BitWriter::put_symbols(const std::uint8_t* symbols, std::size_t size, const std::uint16_t* codes,
                            const std::uint8_t* lengths) {
    // Four symbols of at most 12 bits and 7 bits held over fit a word. They are joined in pairs first, so
    // that little waits for the number of bits held.
    static_assert(4 * kLiteralBits + 7 <= 56);
    BitWriter w = *this;
    std::size_t i = 0;
    for (; i + 4 <= size; i += 4) {
        const std::uint8_t* const s = symbols + i;
        const int n0 = lengths[s[0]], n2 = lengths[s[2]];
        const int first = n0 + lengths[s[1]], second = n2 + lengths[s[3]];
        const std::uint32_t low = codes[s[0]] | std::uint32_t{codes[s[1]]} << n0;
        const std::uint32_t high = codes[s[2]] | std::uint32_t{codes[s[3]]} << n2;
        w.held_ |= (low | std::uint64_t{high} << first) << w.count_;
        w.count_ += first + second;
        w.store();
    }
    for (; i < size; i++) w.put(codes[symbols[i]], lengths[symbols[i]]);
    *this = w;
}

LiteralCode make_literal_code(const std::uint32_t counts[256]) {
    std::uint32_t with_end[257];
    std::copy_n(counts, 256, with_end);
    with_end[kEnd] = 1;
    LiteralCode code;
    huffman_lengths(with_end, 257, kLiteralBits, code.lengths);
    huffman_codes(code.lengths, 257, code.codes);
    return code;
}

void put_literal_header(BitWriter& to, const LiteralCode& code, bool final_block) {
    // No distance is ever used; one code of one bit keeps every decoder content (RFC 1951, 3.2.7).
    std::uint8_t lengths[258];
    std::copy_n(code.lengths, 257, lengths);
    lengths[257] = 1;
    Run runs[258];
    const int n = run_lengths(lengths, 258, runs);
    std::uint32_t counts[19] = {};
    for (int i = 0; i < n; i++) counts[runs[i].symbol]++;
    std::uint8_t meta_lengths[19];
    std::uint16_t meta_codes[19];
    huffman_lengths(counts, 19, 7, meta_lengths);
    huffman_codes(meta_lengths, 19, meta_codes);
    int shown = 19;
    while (shown > 4 && meta_lengths[kOrder[shown - 1]] == 0) shown--;
    to.put(final_block ? 1 : 0, 1);
    to.put(2, 2);  // dynamic Huffman codes
    to.put(0, 5);  // 257 literal and length codes
    to.put(0, 5);  // 1 distance code
    to.put(static_cast<std::uint64_t>(shown - 4), 4);
    for (int i = 0; i < shown; i++) to.put(meta_lengths[kOrder[i]], 3);
    for (int i = 0; i < n; i++) {
        to.put(meta_codes[runs[i].symbol], meta_lengths[runs[i].symbol]);
        to.put(runs[i].extra, extra_bits(runs[i].symbol));
    }
}

}  // namespace gs
