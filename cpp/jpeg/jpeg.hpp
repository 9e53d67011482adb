// What the JPEG decoders keep from image to image.
#pragma once

#include "base/workspace.hpp"
#include "jpeg/jpeg_library.hpp"
#include "jpeg/jpeg_own.hpp"

namespace gs {

struct JpegState {
    JpegLibrary library;
    jpeg::OwnDecoder own;
    bool kept = false;  // whether `own` has the coefficients of the last image
};

}  // namespace gs
