// The compressed image data of a PNG (a zlib stream, RFC 1950) to filtered rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "types.hpp"

namespace gs::png {

// Bytes that an output buffer must have beyond the bytes asked for: inflate may write there.
constexpr std::size_t kInflateSlack = 65536 + 64;

struct Inflated {
    std::size_t size = 0;         // bytes of the output that are right, at most the bytes asked for
    const char* error = nullptr;  // why there are no more; nullptr when all that was asked for is there
};

class Inflater {
  public:
    Inflater();
    ~Inflater();
    Inflater(const Inflater&) = delete;
    Inflater& operator=(const Inflater&) = delete;

    // The first `wanted` of the stream's `total` bytes into `out`, which has room for wanted + kInflateSlack.
    // When wanted == total the checksum at the end of the stream is checked too. More than `total` bytes in
    // the stream are ignored, as libpng does. With `partial`, size tells how much stands before a damage;
    // without, it is 0 after an error.
    Inflated inflate(ByteView stream, std::uint8_t* out, std::size_t wanted, std::size_t total, bool partial);

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace gs::png
