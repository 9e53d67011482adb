#include "recode/png_whole_rows.hpp"

#include <cstring>

#include "png/png_unfilter.hpp"
#include "recode/png_filter.hpp"

namespace gs::png {

RowsView WholeRows::read(const Header& header, ByteView stream) {
    const std::size_t row = 1 + header.row_bytes(header.width);
    const auto height = static_cast<std::size_t>(header.height);
    if (row * height / 1032 > stream.size)
        throw DecodeError("truncated PNG: too little image data for its width and height");
    constexpr std::size_t kFront = (kUnfilterReach + 63) / 64 * 64;
    std::uint8_t* const rows = filtered_.reserve(kFront + row * height + kInflateSlack) + kFront;
    inflater_.start(stream, rows);
    const Inflater::Status status = inflater_.inflate_beyond(row * height);
    if (status == Inflater::Status::damaged)
        throw DecodeError("damaged PNG: the image data cannot be decompressed");
    if (status == Inflater::Status::truncated || inflater_.size() < row * height)
        throw DecodeError("truncated PNG: the image data ends too early");
    for (std::size_t y = 0; y < height; y++)
        if (rows[row * y] > kPaeth) throw DecodeError("damaged PNG: unknown row filter");
    const int distance = header.filter_distance();
    if (distance == 1 || distance == 3) {
        const Layout layout{distance, 1, distance};
        const std::size_t stride = (row - 1 + kUnfilterGap + 63) / 64 * 64;
        std::uint8_t* const above = plain_.reserve(stride * (height + 2));
        std::memset(above, 0, row);
        unfilter_rows(layout, rows, row, header.height, static_cast<int>((row - 1) / layout.pixel),
                      above + stride, stride);
        return {above + stride, stride};
    }
    std::uint8_t* const above = plain_.reserve(row * (height + 1));
    std::memset(above, 0, row);
    for (std::size_t y = 1; y <= height; y++)
        restore_row(static_cast<Filter>(rows[row * (y - 1)]), rows + row * (y - 1) + 1, above + row * (y - 1),
                    row - 1, static_cast<std::size_t>(distance), above + row * y);
    return {above + row, row};
}

}  // namespace gs::png
