// The header of a JPEG that the own decoder takes: sequential Huffman coding, 8 bits, one scan, one component
// or Y, Cb, Cr in a common sampling.
#pragma once

#include <cstdint>

#include "base/types.hpp"

namespace gs::jpeg {

// A Huffman table as it stands in a DHT segment (ITU-T T.81, B.2.4.2): the numbers of codes of each length
// from 1 to 16, then the symbols. Points into the file.
struct HuffmanSpec {
    const std::uint8_t* counts = nullptr;  // 16 bytes; nullptr: not defined
    int symbols = 0;                       // bytes behind the counts
};

struct Component {
    int id = 0;
    int h = 1;  // sampling factors
    int v = 1;
    int quant = 0;  // table numbers, 0..3
    int dc = 0;
    int ac = 0;
};

// A scan header (T.81, B.2.3).
struct ScanHeader {
    int components = 0;
    int component[3] = {};  // indices into Header::component
    int first = 0;          // zigzag positions, both inclusive
    int last = 63;
    int high = 0;  // successive approximation: the bit sent before (0: none) and the one sent now
    int low = 0;
};

struct Header {
    int width = 0;
    int height = 0;
    bool progressive = false;
    int components = 0;
    Component component[3];
    HuffmanSpec dc[4];
    HuffmanSpec ac[4];
    const std::uint8_t* quant[4] = {};  // 64 bytes in zigzag order; nullptr: not defined or of 16 bits
    int restart_interval = 0;           // in MCUs; 0: none
    ScanHeader scan;                    // the last one read
    std::size_t entropy_begin = 0;      // first byte behind it

    int h() const { return component[0].h; }  // MCU size in blocks
    int v() const { return component[0].v; }
    int mcus_per_row() const { return (width + 8 * h() - 1) / (8 * h()); }
    int mcu_rows() const { return (height + 8 * v() - 1) / (8 * v()); }
};

// Reads a file's segments, from one scan to the next.
class HeaderReader {
  public:
    enum class Found {
        scan,
        end,   // of the image
        other  // something better left to libjpeg: other kinds of JPEG, unusual samplings, anything
               // unexpected, so that libjpeg's verdict on it counts
    };

    HeaderReader(ByteView bytes, Header& header) : bytes_(bytes), header_(header) {}
    // Up to and including the first scan header. The scan of a sequential file has all components.
    Found begin();
    // Goes on behind a scan, at the marker that ended it.
    Found next(std::size_t at);

  private:
    Found read();
    bool segment(int marker, const std::uint8_t* p, std::size_t size);
    bool frame_header(const std::uint8_t* p, std::size_t size);
    bool scan_header(const std::uint8_t* p, std::size_t size);
    bool is_ycc() const;

    ByteView bytes_;
    Header& header_;
    std::size_t at_ = 2;
    bool frame_ = false;
    bool scanned_ = false;
    bool jfif_ = false;
    bool adobe_ = false;
    int adobe_transform_ = 0;
};

}  // namespace gs::jpeg
