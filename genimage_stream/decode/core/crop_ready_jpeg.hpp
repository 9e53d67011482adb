// A JPEG in the crop-ready form: the same coefficients, coded so that a reader can skip to any part of it.
#pragma once

#include <vector>

#include "types.hpp"

namespace gs {

// The number of MCUs between two restart markers: the divisor of `mcus_per_row` whose intervals come nearest
// (by ratio) to 64 pixels of width.
int restart_interval_for(int mcus_per_row, int mcu_width);

// Writes the crop-ready form of a JPEG to `out`: baseline (extended sequential where the tables need 16
// bits), one scan, Huffman tables made for the file, restart intervals that divide the rows of MCUs. Tables,
// sampling factors, APPn and COM segments and what follows the end marker are carried over byte for byte.
//
// Returns nullptr when done, else the reason why the file is to stay as it is (`out` is then empty):
// arithmetic or lossless coding, 12 bits, a progression that stops early (decoders smooth such images),
// tables that change between scans, metadata that points into the file by offsets (MPF), content credentials
// that sign its bytes (C2PA), or already crop-ready. Throws DecodeError when the file is damaged.
const char* make_crop_ready_jpeg(ByteView bytes, std::vector<std::uint8_t>& out);

}  // namespace gs
