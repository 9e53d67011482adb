// The rows of a whole PNG as they were before filtering: every byte of every pixel, alpha and the low bytes
// of 16 bits included, which the decoder to RGB passes over.
#pragma once

#include "base/buffer.hpp"
#include "png/png_container.hpp"
#include "png/png_inflate.hpp"

namespace gs::png {

// Row y begins at data + y * stride and has header.row_bytes(header.width) bytes.
struct RowsView {
    const std::uint8_t* data = nullptr;
    std::size_t stride = 0;
};

class WholeRows {
  public:
    // Of an image that is not interlaced, from its compressed data. The view is good until the next
    // call. Throws DecodeError.
    RowsView read(const Header& header, ByteView stream);
    void release() {
        filtered_.release();
        plain_.release();
    }

  private:
    Inflater inflater_;
    Buffer filtered_;
    Buffer plain_;
};

}  // namespace gs::png
