// One encoded image on its way to pixels: its facts, its size, and any part of it, whoever decodes it.
#pragma once

#include <cstdint>
#include <string>

#include "base/types.hpp"
#include "base/workspace.hpp"
#include "image/decode.hpp"
#include "image/inspect.hpp"
#include "image/smaller_than_window.hpp"

namespace gs {

// Formats that are not decoded here.
class ForeignDecoder {
  public:
    virtual ~ForeignDecoder() = default;
    // Fills `pixels` with width * height interleaved RGB pixels; `memory` becomes the lease for what decoding
    // took, to be kept while they are used. Throws DecodeError.
    virtual Size decode(ByteView bytes, const DecodeOptions& options, Buffer& pixels,
                        MemoryLease& memory) = 0;
};

struct Subject {
    // `foreign` may be nullptr; it decodes its formats at once. Waits for the memory that decoding takes, and
    // for `copies` of the image as RGB that the caller makes. Throws DecodeError.
    Subject(ByteView encoded, const DecodeOptions& options, ForeignDecoder* foreign, Workspace& workspace,
            int copies = 0);
    Subject(const Subject&) = delete;
    Subject& operator=(const Subject&) = delete;

    const ByteView bytes;
    const ImageInfo info;
    SettleAfter settle;
    Size size;
    const std::uint8_t* pixels = nullptr;  // of a foreign format
};

// Throws DecodeError for an image that has not the size which the index gives it: windows and steps that were planned
// for another size would show something else.
void check_planned_size(Size image, Size planned);

// Decodes a part into a sink and insists on every row: a decoder that stops early must not leave the pixels
// of the image before.
template <typename Sink>
void decode_part(const Subject& subject, const Rect& part, const DecodeOptions& options, Workspace& workspace,
                 Sink& sink) {
    if (subject.pixels) {
        const std::ptrdiff_t stride = std::ptrdiff_t{3} * subject.size.width;
        sink.rows(0, part.height, subject.pixels + part.y * stride + std::ptrdiff_t{3} * part.x, stride);
        return;
    }
    decode(subject.bytes, subject.info, &part, options, workspace, sink);
    if (sink.delivered() < part.height)
        throw DecodeError("the image ends after row " + std::to_string(part.y + sink.delivered()));
}

}  // namespace gs
