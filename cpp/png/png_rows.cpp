#include "png/png_rows.hpp"

#include <cstring>

namespace gs::png {

namespace {

Layout layout_of(const Header& header) {
    if (header.color == Color::palette || header.bit_depth < 8) return {1, 0, 1};
    return {header.filter_distance(), header.channels() < 3 ? 0 : header.bit_depth / 8, 3};
}

}  // namespace

RowConverter::RowConverter(const Header& header, const Palette& palette)
    : layout_(layout_of(header)), bit_depth_(header.bit_depth) {
    if (header.color == Color::palette) {
        for (int i = 0; i < 256; i++) {
            std::memcpy(colors_[i], palette.rgb[i], 3);
            colors_[i][3] = 0;
        }
    } else if (bit_depth_ < 8) {
        const int scale = 255 / ((1 << bit_depth_) - 1);
        for (int i = 0; i < 1 << bit_depth_; i++) std::memset(colors_[i], i * scale, 4);
    }
}

void RowConverter::convert_row(const std::uint8_t* row, int x, int count, std::uint8_t* rgb) const {
    if (bit_depth_ == 8) {
        for (int i = 0; i < count; i++) std::memcpy(rgb + 3 * i, colors_[row[x + i]], 4);
        return;
    }
    const int mask = (1 << bit_depth_) - 1;
    for (int i = 0; i < count; i++) {
        const std::size_t bit = static_cast<std::size_t>(x + i) * static_cast<std::size_t>(bit_depth_);
        const int shift = 8 - bit_depth_ - static_cast<int>(bit & 7);
        std::memcpy(rgb + 3 * i, colors_[row[bit / 8] >> shift & mask], 4);
    }
}

}  // namespace gs::png
