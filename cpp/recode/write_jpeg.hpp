// Pixels as a JPEG file, for images that this project makes itself.
#pragma once

#include <cstdint>
#include <vector>

namespace gs {

// Bit for bit what Pillow's save(quality=...) writes with the same libjpeg-turbo: 4:2:0, accurate DCT, standard Huffman
// tables. `pixels`: height x width x 3. Throws DecodeError when the library does not take the size, bad_alloc.
std::vector<std::uint8_t> write_jpeg(const std::uint8_t* pixels, int width, int height, int quality);

}  // namespace gs
