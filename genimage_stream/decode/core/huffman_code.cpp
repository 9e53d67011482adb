#include "huffman_code.hpp"

#include <algorithm>

namespace gs {
namespace {

constexpr int kMaxSymbols = 288;
constexpr int kMaxBits = 15;

}  // namespace

// Package-merge (Larmore and Hirschberg 1990). Row b holds the items from which a code of at most b + 1 bits
// can choose: the symbols, and pairs of neighbours of the row before, by weight. Taking the 2 * (used - 1)
// lightest of the last row, and the halves of every pair that was taken, adds one bit to a symbol's length
// for each time it is taken. Of a row only the order matters in the end, and which items are pairs: since
// pairs are taken in order, the number of pairs among the taken says how many items of the row before are
// taken.
void huffman_lengths(const std::uint32_t* counts, int n, int limit, std::uint8_t* lengths) {
    struct Leaf {
        std::uint32_t weight;
        int symbol;
    };
    Leaf leaves[kMaxSymbols];
    int used = 0;
    for (int i = 0; i < n; i++) {
        lengths[i] = 0;
        if (counts[i] > 0) leaves[used++] = {counts[i], i};
    }
    if (used == 1) lengths[leaves[0].symbol] = 1;
    if (used < 2) return;
    std::sort(leaves, leaves + used, [](const Leaf& a, const Leaf& b) {
        return a.weight != b.weight ? a.weight < b.weight : a.symbol < b.symbol;
    });

    bool is_pair[kMaxBits][2 * kMaxSymbols];
    std::uint64_t weights[2][2 * kMaxSymbols];
    int size = 0;
    for (int b = 0; b < limit; b++) {
        const std::uint64_t* before = weights[(b + 1) % 2];
        std::uint64_t* now = weights[b % 2];
        const int pairs = size / 2;
        int leaf = 0, pair = 0, out = 0;
        while (leaf < used || pair < pairs) {
            const std::uint64_t pair_weight = pair < pairs ? before[2 * pair] + before[2 * pair + 1] : 0;
            const bool take_pair = pair < pairs && (leaf == used || pair_weight < leaves[leaf].weight);
            is_pair[b][out] = take_pair;
            now[out++] = take_pair ? pair_weight : leaves[leaf].weight;
            take_pair ? pair++ : leaf++;
        }
        size = out;
    }
    int take = 2 * (used - 1);
    for (int b = limit - 1; b >= 0 && take > 0; b--) {
        int pairs = 0, leaf = 0;
        for (int i = 0; i < take; i++) {
            if (is_pair[b][i])
                pairs++;
            else
                lengths[leaves[leaf++].symbol]++;
        }
        take = 2 * pairs;
    }
}

void huffman_codes(const std::uint8_t* lengths, int n, std::uint16_t* codes) {
    unsigned count[kMaxBits + 1] = {};
    for (int i = 0; i < n; i++) count[lengths[i]]++;
    count[0] = 0;
    unsigned next[kMaxBits + 2] = {};
    for (int bits = 1; bits <= kMaxBits; bits++) next[bits + 1] = (next[bits] + count[bits]) << 1;
    for (int i = 0; i < n; i++) {
        unsigned code = lengths[i] > 0 ? next[lengths[i]]++ : 0, reversed = 0;
        for (int b = 0; b < lengths[i]; b++, code >>= 1) reversed = reversed << 1 | (code & 1);
        codes[i] = static_cast<std::uint16_t>(reversed);
    }
}

}  // namespace gs
