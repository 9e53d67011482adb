// Progressive JPEGs (ITU-T T.81, annex G): the scans add up to coefficients, which stay in memory until the
// last one. Sequential ones come here when their coefficients are wanted.
//
// Coefficients are kept in zigzag order, as the scans count them. The places of those that are not zero then
// make one 64-bit mask, and a refinement scan, which reads one bit for each of them and steps over the
// others, becomes arithmetic on that mask instead of a walk over all coefficients.
#pragma once

#include <cstdint>

#include "base/buffer.hpp"
#include "jpeg/jpeg_header.hpp"
#include "jpeg/jpeg_huffman.hpp"
#include "jpeg/jpeg_scan.hpp"

namespace gs::jpeg {

// Entries from one block to the next: 64 coefficients and dummy places as in jpeg_idct.hpp.
constexpr int kBlockEntries = 72;
constexpr int kBlockDummy = 64;

struct CoefficientPlane {
    std::int16_t* blocks = nullptr;
    int stride = 0;  // blocks in a row, whole MCUs
    int width = 0;   // blocks that the component has
    int height = 0;
    int h = 1;  // blocks in an MCU
    int v = 1;

    std::int16_t* block(int x, int y) const {
        return blocks + (static_cast<std::ptrdiff_t>(y) * stride + x) * kBlockEntries;
    }
};

// One scan, ready for the kernels.
struct ProgressiveScan {
    ScanHeader header;
    const CoefficientPlane* plane[3] = {};
    const HuffmanTable* dc[3] = {};
    const HuffmanTable* ac = nullptr;
    const HuffmanTable* sequential_ac[3] = {};  // of a sequential scan, which has DC and AC
    int mcus_per_row = 0;                       // of this scan: blocks, when it has one component
    int mcu_rows = 0;
    std::uint8_t place[576] = {};  // as kPairPlace, for positions up to header.last
};

class ProgressiveImage {
  public:
    // Reads all scans, the first of which `header` describes; later headers replace it there. False when
    // libjpeg has to decode the image: also when the scans are incomplete, because libjpeg then smooths it.
    bool read(ByteView bytes, Header& header, Scan& scan, HuffmanTable* dc, HuffmanTable* ac,
              const Kernels& kernels);

    // The same for the one scan of a sequential file, whose tables are built; its last interval ends at
    // the scan's end.
    bool read_sequential(ByteView bytes, const Header& header, Scan& scan, const HuffmanTable* dc,
                         const HuffmanTable* ac, const Kernels& kernels);

    const CoefficientPlane* planes() const { return planes_; }  // by component

    static constexpr int kMostScans = 64;

  private:
    bool make_planes(ByteView bytes, const Header& header);
    bool enter_scan(ByteView bytes, const Header& header, Scan& scan);
    bool read_scan(ByteView bytes, const Header& header, Scan& scan, HuffmanTable* dc, HuffmanTable* ac,
                   const Kernels& kernels);
    bool note_progress(const ScanHeader& scan);

    CoefficientPlane planes_[3];
    Buffer blocks_;
    ProgressiveScan current_;
    std::int8_t known_[3][64];  // the lowest bit that is known of each coefficient; -1: none
};

}  // namespace gs::jpeg
