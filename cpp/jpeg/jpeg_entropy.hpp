// The entropy-coded data of a scan, without decoding it: stuffed zero bytes removed, restart markers and the
// end marker found.
//
// Doing this for the whole scan at once, with vectors, costs a few cycles for every hundred bytes, and it
// is what makes the bit reader simple: it loads eight bytes without looking at them. It also finds a
// missing end, a missing or misnumbered restart marker, and the place of each restart interval before a
// single code is decoded.
#pragma once

#include <cstdint>
#include <vector>

#include "base/buffer.hpp"
#include "base/types.hpp"
#include "jpeg/jpeg_header.hpp"

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

    // Reads the scan that begins at `begin` and must consist of `count` intervals, up to the marker
    // behind it. Only the intervals from `first` to `last` are unwrapped. False when the data is not
    // exactly like that.
    bool unwrap(ByteView bytes, std::size_t begin, std::size_t count, std::size_t first, std::size_t last);

    // Where the marker behind the scan is.
    std::size_t end() const { return end_; }
    const std::uint8_t* bytes() { return bytes_.data(); }
    const Interval& interval(std::size_t i) { return reinterpret_cast<Interval*>(intervals_.data())[i]; }

  private:
    Buffer bytes_;
    Buffer intervals_;
    std::size_t end_ = 0;
};

// Whether the entropy-coded data, which begins at `entropy_begin`, goes on to an end marker: FF D9 means
// nothing else in it, while a thumbnail or a comment in the header may well hold one. Looking from the end
// backwards finds it at once in a sound file and passes over the bytes that cameras and editors append.
bool has_end_marker(ByteView bytes, std::size_t entropy_begin);

// Where the restart intervals of a single-scan file begin and end: entry i is the first byte of interval i,
// and entry `count` is two past the last byte of the last one, so that interval i is [starts[i], starts[i +
// 1] - 2): between two intervals are the two bytes of a marker, the last being EOI. Checks every marker: RST0
// to RST7 in turn, `count` - 1 of them, then EOI. Throws DecodeError otherwise.
void find_restart_intervals(ByteView bytes, std::size_t entropy_begin, std::size_t count,
                            std::vector<std::uint32_t>& starts);

// False when the only scan of a sequential file has other restart markers than its header announces, or when
// the header contradicts itself. A decoder that stops below a crop does not see that eight intervals are
// missing, for the numbers of the markers go on in turn. True for every other kind of file.
bool restart_markers_fit(ByteView bytes, const Header& header);

}  // namespace gs::jpeg
