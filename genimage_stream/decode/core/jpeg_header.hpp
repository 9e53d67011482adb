// The header of a JPEG that the own decoder takes: sequential Huffman coding, 8 bits, one scan, one component
// or Y, Cb, Cr in a common sampling.
#pragma once

#include <cstdint>

#include "types.hpp"

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

struct Header {
    int width = 0;
    int height = 0;
    int components = 0;
    Component component[3];
    HuffmanSpec dc[4];
    HuffmanSpec ac[4];
    const std::uint8_t* quant[4] = {};  // 64 bytes in zigzag order; nullptr: not defined or of 16 bits
    int restart_interval = 0;           // in MCUs; 0: none
    std::size_t entropy_begin = 0;      // first byte behind the scan header

    int h() const { return component[0].h; }  // MCU size in blocks
    int v() const { return component[0].v; }
    int mcus_per_row() const { return (width + 8 * h() - 1) / (8 * h()); }
    int mcu_rows() const { return (height + 8 * v() - 1) / (8 * v()); }
};

// False for everything that is better left to libjpeg: other kinds of JPEG, unusual samplings, and anything
// unexpected in the header, so that libjpeg's verdict on it counts.
bool read_header(ByteView bytes, Header& header);

}  // namespace gs::jpeg
