// Coefficients to the scan of a baseline JPEG with restart intervals and Huffman tables made for it.
#pragma once

#include <vector>

#include "base/buffer.hpp"
#include "jpeg/jpeg_progressive.hpp"

namespace gs::jpeg {

class ScanEncoder {
  public:
    // Appends to `out` the tables (DHT), the interval (DRI), the scan header, the entropy-coded data and the
    // end marker, byte for byte what libjpeg-turbo's jpeg_write_coefficients writes with optimize_coding:
    // tables by the procedure of T.81, K.2. `interval` counts MCUs and divides their rows (0: none). False,
    // `out` as it was, when a coefficient is beyond baseline's range, or the image is huge.
    bool encode(const Header& header, const CoefficientPlane* planes, int interval,
                std::vector<std::uint8_t>& out);
    void release() {
        tokens_.release();
        coded_.release();
    }

  private:
    bool tokenize(const Header& header, const CoefficientPlane* planes, int interval);

    Buffer tokens_;  // of the whole scan
    Buffer coded_;
    std::vector<std::size_t> ends_;  // of each restart interval in them
    std::uint32_t counts_[4 << 8];   // by table and symbol: luma DC, luma AC, chroma DC, chroma AC
    std::uint64_t codes_[4 << 8];
};

}  // namespace gs::jpeg
