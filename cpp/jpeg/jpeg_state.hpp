// What the JPEG decoders keep from image to image.
#pragma once

#include "jpeg_library.hpp"
#include "jpeg_own.hpp"
#include "workspace.hpp"

namespace gs {

struct JpegState {
    JpegLibrary library;
    jpeg::OwnDecoder own;
    bool kept = false;  // whether `own` has the coefficients of the last image
};

}  // namespace gs
