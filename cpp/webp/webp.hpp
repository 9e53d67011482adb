// WebP through libwebp: lossy, lossless, and the first frame of animations on its canvas. Alpha is dropped.
#pragma once

#include "base/buffer.hpp"
#include "base/types.hpp"

namespace gs {

struct WebpHeader {
    int width = 0;  // of the canvas
    int height = 0;
    bool has_alpha = false;
    bool is_plain_lossy = false;  // one lossy image without alpha
};

// Takes no memory. Throws DecodeError, also for a file that is shorter than its first bytes say.
WebpHeader read_webp_header(ByteView bytes);

// Decodes `part`, which lies inside the image, into `sink`. `memory` is used for its pixels. Throws DecodeError.
void decode_webp(ByteView bytes, const WebpHeader& header, const Rect& part, Buffer& memory, RowSink& sink);

// As libwebp writes it: "1.2.4".
std::string webp_version();

}  // namespace gs
