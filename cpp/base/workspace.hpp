// What one thread keeps from image to image, so that the steady state allocates nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <new>
#include <utility>

#include "base/buffer.hpp"
#include "base/memory_lease.hpp"

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

    // To be called after each image, sound or not. What an uncommonly large one needed is given back, so that
    // a thread does not hold gigabytes permanently because of one file; below this bound nothing is ever given
    // back. Returns whether it was one.
    static constexpr std::int64_t kKeptBytes = std::int64_t{1} << 26;
    bool settle() noexcept {
        const MemoryLease over = std::move(memory);
        if (over.bytes() <= kKeptBytes) return false;
        for (Buffer* buffer : {&encoded, &pixels, &foreign, &across, &down, &rows}) buffer->release();
        try {
            jpeg = make_jpeg_state();
            png = make_png_state();
        } catch (const std::bad_alloc&) {  // then the old state stays
        }
        return true;
    }

    MemoryLease memory;  // for the image that is worked on; `decode` takes it unless its caller has

    std::unique_ptr<JpegState, JpegStateDeleter> jpeg;
    std::unique_ptr<PngState, PngStateDeleter> png;
    Buffer encoded;             // an image's bytes, when the core reads them itself
    Buffer pixels;              // a part of an image that is extended to the window
    Buffer foreign;             // what another decoder left: a whole image, of a WebP a part
    Buffer across, down, rows;  // resizing: the weights of both directions, the rows filtered across
};

// Settles a workspace at the end of a scope, whichever way it is left.
struct SettleAfter {
    Workspace& workspace;
    ~SettleAfter() { workspace.settle(); }
};

}  // namespace gs
