// What decoding an image may take of memory, from its header: an upper bound.
#pragma once

#include "image/inspect.hpp"

namespace gs {

// Bytes that decoding a whole JPEG, PNG or WebP takes beside its result; 0 for another format. `encoded`: bytes of
// the file.
std::int64_t decoding_bytes(const ImageInfo& info, std::size_t encoded);

// Bytes of the image as 8-bit RGB, in a buffer.
std::int64_t rgb_bytes(const ImageInfo& info);

}  // namespace gs
