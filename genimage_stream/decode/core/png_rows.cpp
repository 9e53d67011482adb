#include "png_rows.hpp"

#include <cstring>

namespace gs::png {

RowConverter::RowConverter(const Header& header, const Palette& palette)
    : bit_depth_(header.bit_depth), pixel_bytes_(header.filter_distance()), channel_step_(0) {
    const int sample_bytes = bit_depth_ == 16 ? 2 : 1;
    if (header.color == Color::palette) {
        kind_ = bit_depth_ < 8 ? Kind::packed : Kind::palette8;
        for (int i = 0; i < 256; i++) {
            std::memcpy(colors_[i], palette.rgb[i], 3);
            colors_[i][3] = 0;
        }
    } else if (bit_depth_ < 8) {
        kind_ = Kind::packed;
        const int scale = 255 / ((1 << bit_depth_) - 1);
        for (int i = 0; i < 1 << bit_depth_; i++) std::memset(colors_[i], i * scale, 4);
    } else if (header.color == Color::rgb && bit_depth_ == 8) {
        kind_ = Kind::rgb8;
    } else if (header.color == Color::rgba && bit_depth_ == 8) {
        kind_ = Kind::rgba8;
    } else if (header.color == Color::gray && bit_depth_ == 8) {
        kind_ = Kind::gray8;
    } else {
        kind_ = Kind::strided;
        channel_step_ = header.channels() >= 3 ? sample_bytes : 0;
    }
}

void RowConverter::convert_row(const std::uint8_t* row, int x, int count, std::uint8_t* rgb) const {
    switch (kind_) {
        case Kind::packed:
            for (int i = 0; i < count; i++, rgb += 3) {
                const std::size_t bit =
                    static_cast<std::size_t>(x + i) * static_cast<std::size_t>(bit_depth_);
                const int shift = 8 - bit_depth_ - static_cast<int>(bit & 7);
                std::memcpy(rgb, colors_[row[bit / 8] >> shift & ((1 << bit_depth_) - 1)], 4);
            }
            return;
        case Kind::palette8:
            for (int i = 0; i < count; i++) std::memcpy(rgb + 3 * i, colors_[row[x + i]], 4);
            return;
        case Kind::gray8:
            for (int i = 0; i < count; i++) rgb[3 * i] = rgb[3 * i + 1] = rgb[3 * i + 2] = row[x + i];
            return;
        case Kind::rgb8:
            std::memcpy(rgb, row + 3 * static_cast<std::ptrdiff_t>(x), 3 * static_cast<std::size_t>(count));
            return;
        case Kind::rgba8:
            row += 4 * static_cast<std::ptrdiff_t>(x);
            for (int i = 0; i < count; i++) std::memcpy(rgb + 3 * i, row + 4 * i, 4);
            return;
        case Kind::strided:
            row += pixel_bytes_ * static_cast<std::ptrdiff_t>(x);
            for (int i = 0; i < count; i++, row += pixel_bytes_, rgb += 3) {
                rgb[0] = row[0];
                rgb[1] = row[channel_step_];
                rgb[2] = row[2 * channel_step_];
            }
            return;
    }
}

}  // namespace gs::png
