// Pairs of bytes from anywhere in 16 bytes of a row, as one shuffle puts them: what resizes multiply by pairs of weights.
// A lane makes four neighbouring values of a row of RGB; values are counted through the channels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace gs::transform {

constexpr int kLaneValues = 4, kLaneBytes = 16;

// Four pairs of bytes of a row: their places, or -1 for a zero.
struct LanePairs {
    int first[kLaneValues], second[kLaneValues];
};

// Where to load 16 bytes, and the shuffle that makes 16-bit pairs of them.
struct LaneLoad {
    int at;
    std::uint8_t order[kLaneBytes];
};

// No byte outside of the row is loaded. False where the bytes lie too far apart, or the row is too short.
inline bool load_of(const LanePairs& pairs, int row_bytes, LaneLoad& load) {
    int low = row_bytes, high = -1;
    for (int i = 0; i < kLaneValues; i++)
        for (const int at : {pairs.first[i], pairs.second[i]}) {
            if (at < 0) continue;
            low = std::min(low, at);
            high = std::max(high, at);
        }
    load.at = std::min(low, row_bytes - kLaneBytes);
    if (load.at < 0 || high - load.at >= kLaneBytes) return false;
    std::memset(load.order, 0x80, sizeof load.order);
    for (int i = 0; i < kLaneValues; i++) {
        if (pairs.first[i] >= 0) load.order[4 * i] = static_cast<std::uint8_t>(pairs.first[i] - load.at);
        if (pairs.second[i] >= 0)
            load.order[4 * i + 2] = static_cast<std::uint8_t>(pairs.second[i] - load.at);
    }
    return true;
}

}  // namespace gs::transform
