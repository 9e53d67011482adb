// Rows of any PNG colour type and bit depth to rows of interleaved 8-bit RGB.
//
// The rules, in one place: alpha and tRNS are dropped; gray becomes three equal channels; 16-bit samples keep
// their high byte; gray of 1, 2 or 4 bits is scaled to 0..255; a palette index beyond the palette is black.
#pragma once

#include <cstdint>

#include "png/png_container.hpp"
#include "png/png_unfilter.hpp"

namespace gs::png {

// Bytes that convert_row may write beyond the last pixel.
constexpr int kRowSlack = 16;

class RowConverter {
  public:
    RowConverter(const Header& header, const Palette& palette);

    // What unfiltering must keep: RGB, where is_direct, else the bytes of samples or palette indices.
    const Layout& layout() const { return layout_; }
    // Unfiltered rows are RGB already and convert_row is not for them.
    bool is_direct() const { return layout_.out == 3; }
    // Pixels of the layout that hold the first `pixels` of a row: fewer when a byte holds several.
    int units(int pixels) const { return bit_depth_ < 8 ? (pixels * bit_depth_ + 7) / 8 : pixels; }

    // Pixels [x, x + count) of an unfiltered row to rgb[0, 3 * count).
    void convert_row(const std::uint8_t* row, int x, int count, std::uint8_t* rgb) const;

  private:
    Layout layout_;
    int bit_depth_;
    std::uint8_t colors_[256][4];  // sample or index to RGB
};

}  // namespace gs::png
