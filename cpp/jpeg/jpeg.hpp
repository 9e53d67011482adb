// The door to the JPEG decoders: what they keep from image to image, and the choice between them.
#pragma once

#include <string_view>

#include "base/workspace.hpp"
#include "jpeg/jpeg_header.hpp"
#include "jpeg/jpeg_library.hpp"
#include "jpeg/jpeg_own.hpp"

namespace gs {

struct JpegState {
    JpegLibrary library;
    jpeg::OwnDecoder own;
    bool kept = false;  // whether `own` has the coefficients of the last image
};

// Decodes `part`, which lies inside the image (of its size at options.dct_scale), into `sink`. `header` is
// that of these bytes. Throws DecodeError.
void decode_jpeg(ByteView bytes, const jpeg::Header& header, const Rect& part, const DecodeOptions& options,
                 JpegState& state, RowSink& sink);

// For tests and measurements, of the whole process: "auto" (our decoder where it is the faster one),
// "libjpeg", "own" (our decoder in its fastest form for this processor), "no_pdep" (the form for processors
// on which that instruction is slow) or "plain" (the form without vector instructions). False: no such path.
bool set_jpeg_path(std::string_view name);

}  // namespace gs
