// The entropy-coded data of a scan, taken out of its wrapping: stuffed zero bytes removed, restart markers
// found.
//
// Doing this for the whole scan at once, with vectors, costs a few cycles for every hundred bytes, and it is
// what makes the bit reader simple: it loads eight bytes without looking at them. It also finds a missing
// end, a missing or misnumbered restart marker, and the place of each restart interval before a single code
// is decoded.
#pragma once

#include <cstdint>

#include "base/buffer.hpp"
#include "base/types.hpp"

namespace gs::jpeg {

// One restart interval (the whole scan, when there are none) in EntropyData's bytes.
struct Interval {
    std::size_t begin = 0;
    std::size_t size = 0;
};

class EntropyData {
  public:
    // Bytes that may be read behind the end of every interval: more than one group of MCUs can consume before
    // the decoder looks where it is (12 blocks of 64 symbols of at most 26 bits).
    static constexpr std::size_t kPadding = 4096;

    // Reads the scan that begins at `begin` and must consist of `count` intervals, up to the marker behind
    // it. Only the intervals from `first` to `last` are unwrapped. False when the data is not exactly like
    // that.
    bool unwrap(ByteView bytes, std::size_t begin, std::size_t count, std::size_t first, std::size_t last);

    // Where the marker behind the scan stands.
    std::size_t end() const { return end_; }
    const std::uint8_t* bytes() { return bytes_.data(); }
    const Interval& interval(std::size_t i) { return reinterpret_cast<Interval*>(intervals_.data())[i]; }

  private:
    Buffer bytes_;
    Buffer intervals_;
    std::size_t end_ = 0;
};

}  // namespace gs::jpeg
