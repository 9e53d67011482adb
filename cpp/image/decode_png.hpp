// PNG: the crop-ready bands where there are any, else the whole image.
#pragma once

#include "base/types.hpp"
#include "base/workspace.hpp"
#include "png/png_container.hpp"

namespace gs {

// Decodes `part`, which lies inside the image, into `sink`. `header` is that of these
// bytes. Throws DecodeError.
void decode_png(ByteView bytes, const png::Header& header, const Rect& part, const DecodeOptions& options,
                PngState& state, RowSink& sink);

}  // namespace gs
