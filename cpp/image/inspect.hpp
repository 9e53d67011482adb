// Facts about an image from its header alone: nothing is decoded. An image is inspected once; decoding,
// cutting and recoding get its ImageInfo.
#pragma once

#include <cstdint>

#include "base/types.hpp"
#include "jpeg/jpeg_header.hpp"
#include "png/png_container.hpp"
#include "webp/webp.hpp"

namespace gs {

struct ImageInfo {
    Format format = Format::unknown;
    int width = 0;
    int height = 0;
    const char* mode = "";  // as Pillow names it: 1, L, LA, P, RGB, RGBA, I;16, CMYK
    int bit_depth = 8;
    int jpeg_quality = -1;    // 1..100, estimated from the quantisation tables; -1: not a JPEG or no estimate
    const char* chroma = "";  // of a JPEG: 444, 422, 420, or other (gray and CMYK, too)
    bool progressive = false;  // progressive JPEG or interlaced PNG
    jpeg::Header jpeg;         // of a JPEG; it points into the bytes that were inspected
    png::Header png;           // of a PNG
    WebpHeader webp;           // of a WebP
};

// By magic bytes, never by a name.
Format sniff(ByteView bytes);

// Throws DecodeError when the bytes are empty, of no known format, end within the header, or break the
// limits. For formats that are not decoded here only `format` is filled in.
ImageInfo inspect(ByteView bytes, const Limits& limits);

const char* format_name(Format format);

// JPEG, PNG and WebP; the others are left to a ForeignDecoder.
bool decoded_here(Format format);

}  // namespace gs
