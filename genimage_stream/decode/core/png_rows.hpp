// Rows of any PNG colour type and bit depth to rows of interleaved 8-bit RGB.
//
// The rules, in one place: alpha and tRNS are dropped; gray becomes three equal channels; 16-bit samples keep
// their high byte; gray of 1, 2 or 4 bits is scaled to 0..255; a palette index beyond the palette is black.
#pragma once

#include <cstdint>

#include "png_container.hpp"

namespace gs::png {

// Bytes that convert_row may write beyond the last pixel.
constexpr int kRowSlack = 64;

class RowConverter {
  public:
    // The palette is read when the colour type is `palette` and must outlive the converter.
    RowConverter(const Header& header, const Palette& palette);

    // True when rows are RGB of 8 bits already: convert_row would only copy.
    bool is_identity() const { return kind_ == Kind::rgb8; }

    // Pixels [x, x + count) of an unfiltered row to rgb[0, 3 * count). Reads nothing beyond those pixels'
    // bytes but may write kRowSlack bytes beyond.
    void convert_row(const std::uint8_t* row, int x, int count, std::uint8_t* rgb) const;

  private:
    enum class Kind : std::uint8_t { packed, gray8, palette8, rgb8, rgba8, strided };
    Kind kind_;
    int bit_depth_;
    int pixel_bytes_;              // strided
    int channel_step_;             // strided: 0 for gray
    std::uint8_t colors_[256][4];  // packed, palette8: index or sample to RGB
};

}  // namespace gs::png
