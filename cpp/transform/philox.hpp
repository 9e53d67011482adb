// Philox4x32-10 (Salmon, Moraes, Dror, Shaw, SC 2011): four random words that are a function of a key
// and a counter.
#pragma once

#include <array>
#include <cstdint>

namespace gs::transform {

struct PhiloxKey {
    std::uint32_t low = 0;
    std::uint32_t high = 0;
};

inline std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> c, PhiloxKey key) {
    for (int round = 0; round < 10; round++) {
        const std::uint64_t a = std::uint64_t{0xD2511F53} * c[0], b = std::uint64_t{0xCD9E8D57} * c[2];
        c = {static_cast<std::uint32_t>(b >> 32) ^ c[1] ^ key.low, static_cast<std::uint32_t>(b),
             static_cast<std::uint32_t>(a >> 32) ^ c[3] ^ key.high, static_cast<std::uint32_t>(a)};
        key = {key.low + 0x9E3779B9, key.high + 0xBB67AE85};
    }
    return c;
}

}  // namespace gs::transform
