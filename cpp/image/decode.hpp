// One image in, rows of RGB out: the door to the format's own decoder.
#pragma once

#include <string_view>

#include "base/types.hpp"
#include "base/workspace.hpp"
#include "image/inspect.hpp"

namespace gs {

// Decodes the part `crop` (nullptr: all) of a JPEG or PNG into `sink`.
// Throws DecodeError for bad bytes and std::out_of_range for a crop that is not inside the image.
void decode(ByteView bytes, const Rect* crop, const DecodeOptions& options, Workspace& workspace,
            RowSink& sink);

// The decoders of the formats, with the same contract; `bytes` must be of that format.
void decode_jpeg(ByteView bytes, const Rect* crop, const DecodeOptions& options, Workspace& workspace,
                 RowSink& sink);
void decode_png(ByteView bytes, const Rect* crop, const DecodeOptions& options, Workspace& workspace,
                RowSink& sink);

// For tests and measurements, of the whole process: "auto" (the own decoder where it is the faster one),
// "libjpeg", "own" (its fastest form for this processor), "no_pdep" (the form for processors on which that
// instruction is slow) or "plain" (its form without vector instructions). False: no such path.
bool set_jpeg_path(std::string_view name);

}  // namespace gs
