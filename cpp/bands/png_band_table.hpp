// The table of a crop-ready PNG: where its bands of rows lie and how to begin within them. It is in a private
// ancillary chunk, "gsBD": unsafe to copy, so that an editor which changes the image drops it.
//
// Bands are runs of rows that refer to nothing before them: the first row's filter is None or Sub, and no
// match of the compressed data crosses the border. Every band is one IDAT chunk; all but the last end with an
// empty stored block (a full flush), so each begins at a byte. The first chunk also holds the two bytes of
// the zlib header, the last the stream's Adler-32.
//
// The chunk, numbers big-endian:
//   u8  version, 1
//   u8  coding of the bands: 0 stored, 1 literals, 2 deflate
//   u16 rows of a band (the last has what is left)
//   u16 rows of a segment; 0 unless coding is `literals`
//   u16 width of a tile in pixels; 0: rows are not divided
//   u32 number of bands
//   per band: u32 length of the IDAT chunk's data, u32 the chunk's CRC
//   per band, coding `literals` only:
//     u16 bits of the block's header
//     per segment, per tile: u16 bits of its symbols
//     per row, per tile but the first: the pixel left of the tile (its bytes as in an unfiltered row)
//   u32 CRC-32 of IHDR's 13 bytes and of all the above
//
// A segment is some rows of a band, a tile a range of columns; a row's filter byte belongs to its first tile.
// Tiles are used only with segments of one row and pixels of whole bytes.
#pragma once

#include <cstdint>
#include <vector>

#include "png/png_container.hpp"

namespace gs::png {

enum class BandCoding : std::uint8_t { stored = 0, literals = 1, deflate = 2 };

// How an image is divided. All counts follow from it and the header.
struct BandShape {
    BandCoding coding = BandCoding::deflate;
    int band_rows = 0;
    int segment_rows = 0;
    int tile_width = 0;

    int bands(const Header& h) const { return (h.height - 1) / band_rows + 1; }
    int rows(const Header& h, int band) const {
        return band_rows < h.height - band * band_rows ? band_rows : h.height - band * band_rows;
    }
    int tiles(const Header& h) const { return tile_width == 0 ? 1 : (h.width - 1) / tile_width + 1; }
    int segments(int rows) const { return (rows - 1) / segment_rows + 1; }
    // Bytes of a band's part of the table after the lengths and CRCs; rows as given.
    std::size_t record_bytes(const Header& h, int rows) const {
        if (coding != BandCoding::literals) return 0;
        const std::size_t tiles_ = static_cast<std::size_t>(tiles(h));
        return 2 + 2 * static_cast<std::size_t>(segments(rows)) * tiles_ +
               static_cast<std::size_t>(rows) * (tiles_ - 1) * h.row_bytes(1);
    }
    // In stored bands: rows of one stored block, which holds at most 65535 bytes.
    int stored_rows(const Header& h) const {
        const std::size_t fit = 65535 / (1 + h.row_bytes(h.width));
        return fit < static_cast<std::size_t>(band_rows) ? static_cast<int>(fit) : band_rows;
    }
};

// A table as it is in the chunk; a view, nothing is copied.
class BandTable {
  public:
    // False when the data is not a sound table for that image. `ihdr` is the 13 bytes of IHDR.
    bool parse(ByteView data, const Header& header, const std::uint8_t* ihdr);

    const BandShape& shape() const { return shape_; }
    int bands() const { return bands_; }
    std::uint32_t idat_bytes(int band) const;
    std::uint32_t idat_crc(int band) const;
    // The band's record: `record_bytes` of it.
    const std::uint8_t* record(int band) const {
        return records_ + static_cast<std::size_t>(band) * record_bytes_;
    }

  private:
    BandShape shape_;
    int bands_ = 0;
    const std::uint8_t* entries_ = nullptr;
    const std::uint8_t* records_ = nullptr;
    std::size_t record_bytes_ = 0;
};

// The chunk's data from its parts: `entries` holds the 8 bytes per band, `records` the records in order.
std::vector<std::uint8_t> write_band_table(const BandShape& shape, const Header& header,
                                           const std::uint8_t* ihdr, const std::vector<std::uint8_t>& entries,
                                           const std::vector<std::uint8_t>& records);

}  // namespace gs::png
