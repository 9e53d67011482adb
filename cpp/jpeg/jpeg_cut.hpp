// A small valid JPEG that holds a crop, cut out of a larger one without decoding.
#pragma once

#include <vector>

#include "base/types.hpp"
#include "jpeg/jpeg_header.hpp"

namespace gs::jpeg {

// Writes to `out` a baseline JPEG of the restart intervals that cover `crop` and its context, and returns
// where the crop lies in it: a full decode of `out`, sliced by the result, equals a full decode of `bytes`,
// sliced by `crop`, in any decoder whose upsampling looks no further than one chroma sample to each side.
//
// Works on sequential Huffman JPEGs with one scan whose rows of MCUs are whole numbers of restart intervals
// (the crop-ready form) and whose segments have nothing between them. `out` is left empty, and `crop`
// returned, when the file is none or when the crop needs all of it: then the file itself is the answer.
// Segments that do not bear on the pixels (EXIF, ICC, comments) are left out, so no decoder turns the cut by
// an EXIF rotation.
//
// Throws DecodeError when a header or a restart marker is missing or damaged and std::out_of_range when the
// crop is not inside the image.
Rect cut(ByteView bytes, const Header& header, const Rect& crop, std::vector<std::uint8_t>& out);

}  // namespace gs::jpeg
