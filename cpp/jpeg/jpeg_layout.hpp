// The segments of a JPEG file (ITU-T T.81, annex B) and where its restart intervals lie, without decoding.
#pragma once

#include <cstdint>
#include <vector>

#include "base/types.hpp"

namespace gs {

struct JpegSegment {
    int marker = 0;         // second byte of the marker, 0xE1 for APP1
    std::size_t begin = 0;  // of the marker itself
    std::size_t end = 0;    // one past the last parameter byte
};

struct JpegComponent {
    int id = 0;
    int h = 1;  // sampling factors
    int v = 1;
};

// Everything before the first entropy-coded byte.
struct JpegLayout {
    std::vector<JpegSegment> segments;  // from the one after SOI to the first SOS, in order
    int frame_marker = 0;               // 0xC0 baseline, 0xC1 extended sequential, 0xC2 progressive, ...
    std::size_t frame_at = 0;           // the frame header's marker
    int precision = 8;
    int width = 0;
    int height = 0;
    std::vector<JpegComponent> components;
    int restart_interval = 0;       // in MCUs, 0: none
    int scan_components = 0;        // of the first scan
    std::size_t entropy_begin = 0;  // first byte after the first SOS segment
    bool has_gaps = false;          // bytes between the segments, which decoders pass over

    int mcu_width = 8;  // pixels
    int mcu_height = 8;
    int mcus_per_row = 0;
    int mcu_rows = 0;

    bool huffman_sequential() const { return frame_marker == 0xC0 || frame_marker == 0xC1; }
    bool one_scan() const { return scan_components == static_cast<int>(components.size()); }
    // One scan holds all components, and every row of MCUs is a whole number of restart intervals.
    bool rows_are_whole_intervals() const {
        return huffman_sequential() && one_scan() && restart_interval > 0 &&
               mcus_per_row % restart_interval == 0;
    }
};

// Finds the segments that libjpeg finds. Throws DecodeError when the header is truncated or contradicts
// itself.
JpegLayout read_jpeg_layout(ByteView bytes);

// Whether the entropy-coded data, which begins at `entropy_begin`, goes on to an end marker: FF D9 can stand
// for nothing else in it, while a thumbnail or a comment in the header may well hold one. Looking from the
// end backwards finds it at once in a sound file and passes over the bytes that cameras and editors append.
bool has_end_marker(ByteView bytes, std::size_t entropy_begin);

// Where the restart intervals of a single-scan file begin and end: entry i is the first byte of interval i,
// and entry `count` is two past the last byte of the last one, so that interval i is
// [starts[i], starts[i + 1] - 2): between two intervals stand the two bytes of a marker, the last being EOI.
// Checks every marker: RST0..RST7 in turn, `count` - 1 of them, then EOI. Throws DecodeError otherwise.
void find_restart_intervals(ByteView bytes, std::size_t entropy_begin, std::size_t count,
                            std::vector<std::uint32_t>& starts);

// False when the only scan of a sequential file has other restart markers than its header tells, or when the
// header is not understood. A decoder that stops below a crop does not see that eight intervals are missing,
// for the numbers of the markers go on in turn. True for every other kind of file.
bool restart_markers_fit(ByteView bytes);

}  // namespace gs
