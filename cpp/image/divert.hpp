// JPEGs for another decoder (a GPU's): their bytes, cut down to the window that is wanted.
#pragma once

#include <vector>

#include "base/types.hpp"
#include "image/inspect.hpp"

namespace gs {

struct Diverted {
    std::vector<std::uint8_t> bytes;  // a whole JPEG file; empty: the image was not diverted
    Rect inner;                       // where the window lies in it
};

// Fills `to` when hardware decoders take the image: a sequential Huffman JPEG of 8 bits, gray or YCbCr of the
// usual samplings, that is structurally whole (header, end marker; on crop-ready files every restart marker).
// Returns false, `to` untouched, for all others: progressive, CMYK, RGB stored as such, 4:1:1, and what looks
// damaged, so that the CPU decodes it, or says what is wrong with it. The coded data itself is not looked at.
bool divert_jpeg(ByteView bytes, const ImageInfo& info, const Rect& window, Diverted& to);

}  // namespace gs
