// The container of a PNG (ISO/IEC 15948): signature, chunks, checksums. Finds the compressed image data and
// the palette; knows nothing of pixels.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/buffer.hpp"
#include "base/types.hpp"

namespace gs::png {

enum class Color : std::uint8_t { gray = 0, rgb = 2, palette = 3, gray_alpha = 4, rgba = 6 };

struct Header {
    int width = 0;
    int height = 0;
    int bit_depth = 8;
    Color color = Color::rgb;
    bool interlaced = false;

    int channels() const {
        switch (color) {
            case Color::rgb:
                return 3;
            case Color::gray_alpha:
                return 2;
            case Color::rgba:
                return 4;
            default:
                return 1;
        }
    }
    int bits_per_pixel() const { return channels() * bit_depth; }
    // How far to the left the filters look: bytes per pixel, at least 1.
    int filter_distance() const { return (bits_per_pixel() + 7) / 8; }
    // Bytes of the first `pixels` pixels of a row, without the filter byte.
    std::size_t row_bytes(int pixels) const {
        return (static_cast<std::size_t>(pixels) * static_cast<std::size_t>(bits_per_pixel()) + 7) / 8;
    }
};

struct Palette {
    std::uint8_t rgb[256][3] = {};  // entries that the file does not give are black, as libpng has them
    bool present = false;
};

// Signature and IHDR, with its checksum. Throws DecodeError.
Header read_header(ByteView bytes);

// All chunks up to IEND. Returns the compressed image data in one piece: a view of `bytes` when it is in one
// chunk, else of `joined`. Throws DecodeError; with strict = false only when there is nothing to decode, and
// returns the data up to the damage otherwise.
ByteView read_chunks(ByteView bytes, const Header& header, bool strict, Palette& palette, Buffer& joined);

}  // namespace gs::png
