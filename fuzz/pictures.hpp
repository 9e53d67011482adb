// Pictures that drivers make themselves, and files of them.
#pragma once

#include <png.h>

#include <cstdio>
// jpeglib.h needs FILE and size_t declared before it.
#include <jpeglib.h>

#include "support.hpp"

namespace fuzz {

using Bytes = std::vector<std::uint8_t>;

inline std::uint32_t noise_state;
inline std::uint32_t noise() {
    noise_state = noise_state * 1664525 + 1013904223;
    return noise_state >> 24;
}

// Slopes, edges and noise, of integers alone.
inline Bytes picture(int width, int height, int channels) {
    noise_state = static_cast<std::uint32_t>(width * 131 + height * 7 + channels);
    Bytes pixels;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < channels; c++) {
                const int slope = x * (c + 1) + y * 2, edge = (x / 23 + y / 17) % 3 * 60;
                const int grain = static_cast<int>(noise()) * (x * 40 / width) / 256;
                pixels.push_back(static_cast<std::uint8_t>((slope / 2 + edge + grain) % 256));
            }
    return pixels;
}

inline Bytes as_jpeg(const Bytes& pixels, int width, int height, int across, int down, int quality,
                     bool progressive) {
    jpeg_compress_struct writer;
    jpeg_error_mgr errors;
    writer.err = jpeg_std_error(&errors);
    jpeg_create_compress(&writer);
    unsigned char* file = nullptr;
    unsigned long size = 0;
    jpeg_mem_dest(&writer, &file, &size);
    writer.image_width = static_cast<JDIMENSION>(width);
    writer.image_height = static_cast<JDIMENSION>(height);
    writer.input_components = 3;
    writer.in_color_space = JCS_RGB;
    jpeg_set_defaults(&writer);
    jpeg_set_quality(&writer, quality, TRUE);
    writer.comp_info[0].h_samp_factor = across;
    writer.comp_info[0].v_samp_factor = down;
    if (progressive) jpeg_simple_progression(&writer);
    jpeg_start_compress(&writer, TRUE);
    while (writer.next_scanline < writer.image_height) {
        JSAMPROW row = const_cast<JSAMPROW>(pixels.data()) +
                       std::size_t{3} * writer.next_scanline * static_cast<std::size_t>(width);
        jpeg_write_scanlines(&writer, &row, 1);
    }
    jpeg_finish_compress(&writer);
    jpeg_destroy_compress(&writer);
    Bytes out(file, file + size);
    std::free(file);
    return out;
}

inline Bytes as_png(const Bytes& pixels, int width, int height, png_uint_32 format) {
    png_image image{};
    image.version = PNG_IMAGE_VERSION;
    image.width = static_cast<png_uint_32>(width);
    image.height = static_cast<png_uint_32>(height);
    image.format = format;
    png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
    Bytes out(size);
    FUZZ_CHECK(png_image_write_to_memory(&image, out.data(), &size, 0, pixels.data(), 0, nullptr),
               "libpng does not write");
    out.resize(size);
    return out;
}

}  // namespace fuzz
