// A PNG in the crop-ready form: the same pixels in bands of rows that are
// independent (see png_band_table.hpp).
#pragma once

#include <vector>

#include "base/types.hpp"
#include "recode/png_whole_rows.hpp"

namespace gs {

struct PngRecodeOptions {
    // 0: stored, largest and fastest to read, or as by 4 where that would be more than four times as large or
    // a row is longer than a stored block; 1..5: literals, by the effort of choosing filters; 6..9: deflate
    // with matches where that is smaller, slowest both ways.
    int level = 4;
    int band_rows = 32;
    int tile_width = 256;  // of wide images; 0: never
    int tiny_side = 64;    // pixels; below this a window is the image, and a table costs more than it saves
};

// Writes the crop-ready form of a PNG to `out`. Colour type, bit depth, palette and every chunk that an
// editor may keep are carried over, and so is what follows the end of the image.
//
// Returns nullptr when done, else the reason why the file is kept as it is (`out` is then empty): interlaced,
// animated, tiny, chunks of unknown meaning that depend on the image data, much larger than the original, or
// already crop-ready. Throws DecodeError when the file is damaged.
//
// `rgb` is nullptr, or what a strict decode of the whole file gave, rows of 3 * width bytes: of a file that
// holds just these (`is_plain_rgb`), they are not decompressed a second time. Any other file's rows are read
// into `original`; then `rows` tells where they are.
const char* make_crop_ready_png(ByteView bytes, const png::Header& header, const PngRecodeOptions& options,
                                const std::uint8_t* rgb, png::WholeRows& original, png::RowsView& rows,
                                std::vector<std::uint8_t>& out);

// Whether a file's rows are its RGB pixels, no more and no less.
bool is_plain_rgb(const png::Header& header);

}  // namespace gs
