#include "png_rows.hpp"

#include <cstring>

namespace gs::png {

RowConverter::RowConverter(const Header& header, const Palette& palette) : bit_depth_(header.bit_depth) {
    const int sample_bytes = bit_depth_ == 16 ? 2 : 1;
    if (header.color == Color::palette) {
        layout_ = {1, 0, 1};
        for (int i = 0; i < 256; i++) {
            std::memcpy(colors_[i], palette.rgb[i], 3);
            colors_[i][3] = 0;
        }
    } else if (bit_depth_ < 8) {
        layout_ = {1, 0, 1};
        const int scale = 255 / ((1 << bit_depth_) - 1);
        for (int i = 0; i < 1 << bit_depth_; i++) std::memset(colors_[i], i * scale, 4);
    } else {
        layout_ = {header.filter_distance(), header.channels() >= 3 ? sample_bytes : 0, 3};
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
