// The one reader of a JPEG's markers (ITU-T T.81, annex B): what inspection, layout, decoding, cutting and
// recoding know of a header comes from here. Where a file can be read in two ways, it is read as
// libjpeg-turbo reads it.
#pragma once

#include <cstdint>

#include "base/types.hpp"

namespace gs::jpeg {

// The code of the next marker (its second byte) at or after `at`, or nullptr. Passes over everything else:
// bytes of entropy-coded data and FF 00 in it, fill bytes, and what belongs to nothing.
const std::uint8_t* next_marker(const std::uint8_t* at, const std::uint8_t* end);

// A marker with its segment; those without one (SOI, EOI, RSTn, TEM) are two bytes long.
struct Segment {
    int code = 0;           // second byte of the marker, 0xE1 for APP1
    std::size_t begin = 0;  // of the marker itself
    std::size_t end = 0;    // one past the last parameter byte

    bool is_restart() const { return code >= 0xD0 && code <= 0xD7; }
    bool is_bare() const { return code == 0x01 || (code >= 0xD0 && code <= 0xD9); }
    // SOF0 to SOF15: the frame header of any process.
    bool is_frame() const {
        return code >= 0xC0 && code <= 0xCF && code != 0xC4 && code != 0xC8 && code != 0xCC;
    }
    // APPn or COM.
    bool is_metadata() const { return (code >= 0xE0 && code <= 0xEF) || code == 0xFE; }
    // Whether its parameters begin with these bytes and are `size` bytes or more.
    bool starts_with(ByteView file, const char* magic, std::size_t magic_size, std::size_t size) const;
};

// Walks from marker to marker, in the header and through entropy-coded data alike.
class Markers {
  public:
    explicit Markers(ByteView bytes, std::size_t at = 2) : bytes_(bytes), at_(at) {}
    // False when the file ends before the end of the next segment, or when that segment's
    // length is impossible.
    bool next(Segment& segment);
    // Whether bytes that belong to no segment were passed over; fill bytes do not count.
    bool passed_over_bytes() const { return passed_over_; }

  private:
    ByteView bytes_;
    std::size_t at_;
    bool passed_over_ = false;
};

// A Huffman table as a DHT segment holds it (T.81, B.2.4.2): the numbers of codes of each length from 1 to
// 16, then the symbols. Points into the file.
struct HuffmanSpec {
    const std::uint8_t* counts = nullptr;  // 16 bytes; nullptr: not defined
    int symbols = 0;                       // bytes behind the counts
};

// A quantisation table in zigzag order. Points into the file.
struct QuantTable {
    const std::uint8_t* values = nullptr;  // nullptr: not defined
    bool is_wide = false;                  // 64 values of two bytes, else of one
};

struct Component {
    int id = 0;
    int h = 1;  // sampling factors; 1 in a file of one component, whose blocks come in raster order
    int v = 1;
    int quant = 0;  // table numbers
    int dc = 0;
    int ac = 0;
};

// A scan header (T.81, B.2.3).
struct ScanHeader {
    int components = 0;     // as it says; when that is more than four, the rest is not read
    int component[4] = {};  // indices into Header::component
    int first = 0;          // zigzag positions, both inclusive
    int last = 63;
    int high = 0;  // successive approximation: the bit sent before (0: none) and the one sent now
    int low = 0;
};

// Everything before the first entropy-coded byte.
struct Header {
    int frame = 0;  // the frame's marker: 0xC0 baseline, 0xC1 extended sequential, 0xC2 progressive, ...
    std::size_t frame_at = 0;  // where that marker is
    int precision = 8;         // bits per sample
    int width = 0;
    int height = 0;
    int components = 0;  // up to 255, of which four are kept
    Component component[4];
    int h_max = 1;  // MCU size in blocks
    int v_max = 1;
    HuffmanSpec dc[4];
    HuffmanSpec ac[4];
    QuantTable quant[4];
    int restart_interval = 0;       // in MCUs; 0: none
    ScanHeader scan;                // the last one read
    std::size_t entropy_begin = 0;  // first byte behind it
    bool has_jfif = false;
    bool has_adobe = false;
    int adobe_transform = 0;

    bool has_gaps = false;  // bytes between the segments, which decoders pass over
    // Anything that our decoder does not look into: unusual segments, tables and lengths that
    // libjpeg may refuse.
    bool is_unusual = false;
    // What libjpeg refuses about the header, or nullptr. Inspection reads on all the same: a decoder says it.
    const char* contradiction = nullptr;

    bool is_huffman_sequential() const { return frame == 0xC0 || frame == 0xC1; }
    bool is_progressive() const { return frame == 0xC2 || frame == 0xC6 || frame == 0xCA || frame == 0xCE; }
    bool is_lossless() const { return (frame & 3) == 3; }
    bool has_one_scan() const { return scan.components == components; }
    // Three components that are Y, Cb and Cr, by libjpeg's rule.
    bool is_ycc() const;

    int mcu_width() const { return 8 * h_max; }  // pixels
    int mcu_height() const { return 8 * v_max; }
    int mcus_per_row() const { return (width + 8 * h_max - 1) / (8 * h_max); }
    int mcu_rows() const { return (height + 8 * v_max - 1) / (8 * v_max); }
    // One scan holds all components, and every row of MCUs is a whole number of restart intervals.
    bool rows_are_whole_intervals() const {
        return is_huffman_sequential() && has_one_scan() && restart_interval > 0 &&
               mcus_per_row() % restart_interval == 0;
    }
};

// Up to and including the first scan header. Throws DecodeError when there is no frame header, or when the
// file ends before the scan.
Header read_header(ByteView bytes);

enum class Found {
    scan,
    end,     // of the image
    unusual  // anything that is better left to libjpeg
};

// Goes on behind a scan, at the marker that ended it, up to and including the next scan header.
Found read_next_scan(ByteView bytes, std::size_t at, Header& header);

}  // namespace gs::jpeg
