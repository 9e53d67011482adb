// Unfiltered rows to the bands of a crop-ready PNG: filters, compresses, notes where everything begins.
#pragma once

#include <cstdint>
#include <vector>

#include "bands/png_band_table.hpp"

namespace gs::png {

struct BandEffort {
    int filters = 1;  // as FilterChooser::filter, for literals and deflate
    int deflate = 0;  // libdeflate's level, for deflate; 0: zlib's 6
};

struct WrittenBands {
    std::vector<std::uint8_t> data;     // of all IDAT chunks, without lengths, types and CRCs
    std::vector<std::size_t> ends;      // of each band in it
    std::vector<std::uint8_t> records;  // for the table
};

// Writes the bands of `rows`: `header.height` rows, `stride` bytes apart. Returns false when the coding
// cannot express the image in that shape (a number would not fit its field).
bool write_bands(const Header& header, const BandShape& shape, const BandEffort& effort,
                 const std::uint8_t* rows, std::size_t stride, WrittenBands& to);

}  // namespace gs::png
