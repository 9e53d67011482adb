// What the JPEG decoders keep from image to image.
#pragma once

#include "jpeg_baseline.hpp"
#include "jpeg_library.hpp"
#include "workspace.hpp"

namespace gs {

struct JpegState {
    JpegLibrary library;
    jpeg::BaselineDecoder baseline;
};

}  // namespace gs
