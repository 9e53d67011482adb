// One image in, rows of RGB out: the door to the decoders of the formats.
#pragma once

#include "base/types.hpp"
#include "base/workspace.hpp"
#include "image/inspect.hpp"

namespace gs {

// Decodes the part `crop` (nullptr: all) of a JPEG, PNG or WebP into `sink`. `info` is what `inspect` says of these
// bytes. Throws DecodeError for bad bytes and std::out_of_range for a crop that is not inside the image.
void decode(ByteView bytes, const ImageInfo& info, const Rect* crop, const DecodeOptions& options,
            Workspace& workspace, RowSink& sink);

}  // namespace gs
