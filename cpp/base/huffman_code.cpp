#include "base/huffman_code.hpp"

#include <algorithm>

namespace gs {
namespace {

constexpr int kMaxSymbols = 288;
constexpr int kMaxBits = 15;

}  // namespace

// Package-merge (Larmore and Hirschberg 1990). Row b holds the items from which a code of at most b + 1
// bits can choose: the symbols, and pairs of neighbours of the row before, by weight. Taking the 2 * (used
// - 1) lightest of the last row, and the halves of every pair that was taken, adds one bit to a symbol's
// length for each time it is taken. Of a row only the order matters in the end, and which items are pairs:
// since pairs are taken in order, the number of pairs among the taken says how many items of the row
// before are taken.
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

    // Rows end with weights that are never chosen, and the choice is made without branches: it is as
    // good as random.
    constexpr std::uint64_t kNever = UINT64_MAX;
    bool is_pair[kMaxBits][2 * kMaxSymbols];
    std::uint64_t leaf_weights[kMaxSymbols + 1], pair_weights[kMaxSymbols + 1], row[2 * kMaxSymbols];
    for (int i = 0; i < used; i++) leaf_weights[i] = leaves[i].weight;
    leaf_weights[used] = kNever;
    int size = 0;
    for (int b = 0; b < limit; b++) {
        const int pairs = size / 2;
        for (int i = 0; i < pairs; i++) pair_weights[i] = row[2 * i] + row[2 * i + 1];
        pair_weights[pairs] = kNever;
        size = used + pairs;
        int leaf = 0, pair = 0;
        for (int out = 0; out < size; out++) {
            const std::uint64_t by_leaf = leaf_weights[leaf], by_pair = pair_weights[pair];
            const bool take_pair = by_pair < by_leaf;
            is_pair[b][out] = take_pair;
            row[out] = take_pair ? by_pair : by_leaf;
            pair += take_pair;
            leaf += !take_pair;
        }
    }
    int take = 2 * (used - 1);
    for (int b = limit - 1; b >= 0 && take > 0; b--) {
        int pairs = 0;
        for (int i = 0; i < take; i++) pairs += is_pair[b][i];
        for (int i = 0; i < take - pairs; i++) lengths[leaves[i].symbol]++;
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
