#include "jpeg/jpeg_cut.hpp"

#include <algorithm>
#include <cstring>

#include "jpeg/jpeg_entropy.hpp"

namespace gs::jpeg {
namespace {

struct Span {
    int first = 0;  // in units of restart intervals or MCU rows
    int count = 0;
};

// The units of `unit` pixels that cover [at, at + size) and the context around it, within [0, limit).
Span cover(int at, int size, int context, int unit, int limit) {
    const int begin = std::max(0, at - context) / unit;
    const int end = (std::min(limit, at + size + context) + unit - 1) / unit;
    return {begin, end - begin};
}

// Segments a decoder needs: tables, frame and scan header, and the two APPn that say what the colours are.
bool bears_on_pixels(const Segment& s, ByteView file) {
    if (s.code == 0xE0) return s.starts_with(file, "JFIF\0", 5, 5);
    if (s.code == 0xEE) return s.starts_with(file, "Adobe", 5, 5);
    return !s.is_metadata() && !s.is_bare();
}

void put(std::vector<std::uint8_t>& out, const std::uint8_t* from, std::size_t size) {
    out.insert(out.end(), from, from + size);
}

}  // namespace

Rect cut(ByteView bytes, const Header& header, const Rect& crop, std::vector<std::uint8_t>& out) {
    out.clear();
    if (header.contradiction != nullptr) throw DecodeError(header.contradiction);
    if (crop.x < 0 || crop.y < 0 || crop.width < 1 || crop.height < 1 || crop.x > header.width - crop.width ||
        crop.y > header.height - crop.height)
        throw std::out_of_range("the crop is not inside the image");
    if (!header.rows_are_whole_intervals() || header.has_gaps) return crop;

    // Fancy upsampling reads one chroma sample beyond the crop, which is up to mcu / 8 pixels away.
    // Twice that also keeps at least three chroma samples in a row: libjpeg falls back to plain
    // replication below that.
    const bool subsampled_x = header.mcu_width() > 8, subsampled_y = header.mcu_height() > 8;
    const int interval_width = header.mcu_width() * header.restart_interval;
    const Span columns =
        cover(crop.x, crop.width, subsampled_x ? header.mcu_width() / 4 : 0, interval_width, header.width);
    const Span rows = cover(crop.y, crop.height, subsampled_y ? header.mcu_height() / 4 : 0,
                            header.mcu_height(), header.height);
    const int per_row = header.mcus_per_row() / header.restart_interval;
    const std::size_t count = static_cast<std::size_t>(per_row) * static_cast<std::size_t>(header.mcu_rows());
    std::vector<std::uint32_t> starts;
    find_restart_intervals(bytes, header.entropy_begin, count, starts);
    if (columns.count == per_row && rows.count == header.mcu_rows()) return crop;

    const int x = columns.first * interval_width, y = rows.first * header.mcu_height();
    const int width = std::min(header.width - x, columns.count * interval_width);
    const int height = std::min(header.height - y, rows.count * header.mcu_height());

    std::size_t size = header.entropy_begin + 2;
    for (int r = rows.first; r < rows.first + rows.count; r++) {
        const std::size_t i = static_cast<std::size_t>(r) * per_row + columns.first;
        size += starts[i + columns.count] - starts[i];
    }
    out.reserve(size);
    put(out, bytes.data, 2);  // SOI
    Markers markers(bytes);
    for (Segment s; s.code != 0xDA && markers.next(s);) {
        if (!bears_on_pixels(s, bytes)) continue;
        const std::size_t at = out.size();
        put(out, bytes.data + s.begin, s.end - s.begin);
        if (s.begin == header.frame_at) {
            out[at + 5] = static_cast<std::uint8_t>(height >> 8);
            out[at + 6] = static_cast<std::uint8_t>(height);
            out[at + 7] = static_cast<std::uint8_t>(width >> 8);
            out[at + 8] = static_cast<std::uint8_t>(width);
        }
    }
    int number = 0;
    for (int r = rows.first; r < rows.first + rows.count; r++) {
        const std::size_t i = static_cast<std::size_t>(r) * per_row + columns.first;
        // The intervals of a row are neighbours: copied in one go, then their markers are renumbered.
        const std::size_t at = out.size(), from = starts[i];
        put(out, bytes.data + from, starts[i + columns.count] - from);
        for (int c = 1; c <= columns.count; c++, number++)
            out[at + starts[i + c] - from - 1] = static_cast<std::uint8_t>(0xD0 + number % 8);
    }
    out.back() = 0xD9;  // the last marker is the end of the image
    return {crop.x - x, crop.y - y, crop.width, crop.height};
}

}  // namespace gs::jpeg
