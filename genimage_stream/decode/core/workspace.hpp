// What one thread keeps from image to image, so that the steady state allocates nothing.
#pragma once

#include <memory>

#include "buffer.hpp"

namespace gs {

// Each state belongs to the room of its decoder and is opaque to the others.
struct JpegState;
struct PngState;
struct JpegStateDeleter {
    void operator()(JpegState* state) const;
};
struct PngStateDeleter {
    void operator()(PngState* state) const;
};
std::unique_ptr<JpegState, JpegStateDeleter> make_jpeg_state();
std::unique_ptr<PngState, PngStateDeleter> make_png_state();

// Used by one thread at a time. Not copyable: decoders keep pointers into it.
struct Workspace {
    Workspace() : jpeg(make_jpeg_state()), png(make_png_state()) {}
    Workspace(const Workspace&) = delete;
    Workspace& operator=(const Workspace&) = delete;

    std::unique_ptr<JpegState, JpegStateDeleter> jpeg;
    std::unique_ptr<PngState, PngStateDeleter> png;
    Buffer encoded;             // an image's bytes, when the core reads them itself
    Buffer pixels;              // a part of an image that is extended to the window
    Buffer foreign;             // a whole image that another decoder left
    Buffer across, down, rows;  // resizing: the weights of both directions, the rows filtered across
};

}  // namespace gs
