// Types that every room of the core shares: bytes, rectangles, limits, errors, and where decoded rows go.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace gs {

enum class Format : std::uint8_t { unknown, jpeg, png, webp, avif, gif, bmp, tiff };

// Bytes that the caller owns and keeps alive for the duration of the call.
struct ByteView {
    const std::uint8_t* data = nullptr;
    std::size_t size = 0;
};

// A rectangle of pixels; x grows to the right, y downwards.
struct Rect {
    int x = 0;
    int y = 0;
    int width = 0;
    int height = 0;
};

class LazyBytes;

// What a decoder may spend on one image, and all of them together on those that they work on at once.
// Exceeding a limit is a DecodeError, raised before the memory is taken.
struct Limits {
    std::int64_t max_pixels = std::int64_t{1} << 28;  // width * height of the coded image
    std::int64_t max_bytes = std::int64_t{1} << 30;   // of the encoded image
    std::int64_t memory = 2'000'000'000;              // bytes, over all threads of the process
};

struct DecodeOptions {
    Limits limits;
    bool strict = true;  // false: show what the library would show of a truncated or damaged image
    // 2, 4, 8: a JPEG is decoded at that fraction of its size (sides rounded up), from the lower frequencies
    // alone. Not the pixels of a full decode: only on request.
    int dct_scale = 1;
    bool keep_coefficients = false;  // of a JPEG, where its decoder can (jpeg_state.hpp)
    LazyBytes* lazy = nullptr;       // where the rest of a PNG comes from; nullptr: all of it is there
};

// Something is wrong with the bytes of an image (never with the program). what() says what, without naming
// the file: the caller knows the file.
class DecodeError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

// Receives the rows of the crop, top to bottom, as interleaved 8-bit RGB. A decoder that meets something it
// leaves to another one starts again: rows may come a second time, from any row on, and the last time counts.
// Implementations must not throw: decoders call them from frames that longjmp may leave.
class RowSink {
  public:
    virtual ~RowSink() = default;
    // `count` rows starting at row `first` of the crop; row i begins at rgb + i * stride_bytes and holds 3 *
    // crop.width bytes. The memory is the decoder's and only valid during the call.
    virtual void rows(int first, int count, const std::uint8_t* rgb,
                      std::ptrdiff_t stride_bytes) noexcept = 0;
};

}  // namespace gs
