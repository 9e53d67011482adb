#include "jpeg/jpeg_layout.hpp"

#include <algorithm>
#include <cstring>
#include <string>

#include "base/big_endian.hpp"

namespace gs {
namespace {

bool is_frame(int marker) {
    return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
}

void read_frame(ByteView bytes, const JpegSegment& s, JpegLayout& layout) {
    const std::uint8_t* p = bytes.data + s.begin + 4;
    const std::size_t size = s.end - s.begin - 4;
    if (layout.frame_marker != 0) throw DecodeError("damaged JPEG: two frame headers");
    if (size < 6 || size < 6 + std::size_t{3} * p[5])
        throw DecodeError("damaged JPEG: frame header too short");
    layout.frame_marker = s.marker;
    layout.frame_at = s.begin;
    layout.precision = p[0];
    layout.height = big16(p + 1);
    layout.width = big16(p + 3);
    int h_max = 1, v_max = 1;
    for (int i = 0; i < p[5]; i++) {
        const std::uint8_t* c = p + 6 + 3 * i;
        layout.components.push_back({c[0], c[1] >> 4, c[1] & 15});
        const JpegComponent& component = layout.components.back();
        if (component.h < 1 || component.h > 4 || component.v < 1 || component.v > 4)
            throw DecodeError("damaged JPEG: impossible sampling factor");
        h_max = std::max(h_max, component.h);
        v_max = std::max(v_max, component.v);
    }
    if (layout.width == 0 || layout.height == 0 || layout.components.empty())
        throw DecodeError("damaged JPEG: impossible width, height or number of components");
    // A scan of one component has one block per MCU, whatever its sampling factors (T.81, A.2.2).
    const bool single = layout.components.size() == 1;
    layout.mcu_width = single ? 8 : 8 * h_max;
    layout.mcu_height = single ? 8 : 8 * v_max;
    layout.mcus_per_row = (layout.width + layout.mcu_width - 1) / layout.mcu_width;
    layout.mcu_rows = (layout.height + layout.mcu_height - 1) / layout.mcu_height;
}

// The next marker of entropy-coded data: the place of its second byte, or nullptr.
const std::uint8_t* next_marker(const std::uint8_t* p, const std::uint8_t* end) {
    while (p < end) {
        p = static_cast<const std::uint8_t*>(std::memchr(p, 0xFF, static_cast<std::size_t>(end - p)));
        if (p == nullptr) return nullptr;
        p++;
        if (p < end && *p != 0 && *p != 0xFF) return p;  // neither stuffed data nor a fill byte
    }
    return nullptr;
}

}  // namespace

JpegLayout read_jpeg_layout(ByteView bytes) {
    if (bytes.size < 4 || bytes.data[0] != 0xFF || bytes.data[1] != 0xD8) throw DecodeError("not a JPEG");
    if (bytes.size > 0xFFFFFFFFu) throw DecodeError("a JPEG of more than 4 GiB");
    JpegLayout layout;
    std::size_t at = 2;
    while (true) {
        if (at + 4 > bytes.size) throw DecodeError("truncated JPEG: it ends within the header");
        if (bytes.data[at] != 0xFF) {
            layout.has_gaps = true;
            at++;
            continue;
        }
        while (at + 4 < bytes.size && bytes.data[at + 1] == 0xFF) at++;  // fill bytes
        const int marker = bytes.data[at + 1];
        if (marker == 0x01 || marker == 0 || (marker >= 0xD0 && marker <= 0xD7)) {  // no segment follows
            layout.has_gaps |= marker != 0x01;
            at += 2;
            continue;
        }
        if (marker == 0xD8 || marker == 0xD9) throw DecodeError("damaged JPEG: misplaced marker");
        const std::size_t length = static_cast<std::size_t>(big16(bytes.data + at + 2));
        if (length < 2) throw DecodeError("damaged JPEG: segment too short");
        if (at + 2 + length > bytes.size) throw DecodeError("truncated JPEG: it ends within the header");
        const JpegSegment s{marker, at, at + 2 + length};
        layout.segments.push_back(s);
        at = s.end;
        if (is_frame(marker)) read_frame(bytes, s, layout);
        if (marker == 0xDD) {
            if (length != 4) throw DecodeError("damaged JPEG: restart interval of a wrong length");
            layout.restart_interval = big16(bytes.data + s.begin + 4);
        }
        if (marker == 0xDA) {
            if (length < 6) throw DecodeError("damaged JPEG: scan header too short");
            if (layout.frame_marker == 0) throw DecodeError("damaged JPEG: no frame header");
            layout.scan_components = bytes.data[s.begin + 4];
            layout.entropy_begin = s.end;
            return layout;
        }
    }
}

bool has_end_marker(ByteView bytes, std::size_t entropy_begin) {
    for (std::size_t at = bytes.size; at >= entropy_begin + 2; at--)
        if (bytes.data[at - 1] == 0xD9 && bytes.data[at - 2] == 0xFF) return true;
    return false;
}

void find_restart_intervals(ByteView bytes, std::size_t entropy_begin, std::size_t count,
                            std::vector<std::uint32_t>& starts) {
    starts.clear();
    // An interval and its marker have two bytes at the least: a header cannot make a small file cost much.
    if (count > (bytes.size - entropy_begin) / 2)
        throw DecodeError("truncated JPEG: too few bytes for " + std::to_string(count) +
                          " restart intervals");
    starts.reserve(count + 1);
    starts.push_back(static_cast<std::uint32_t>(entropy_begin));
    const std::uint8_t* p = bytes.data + entropy_begin;
    const std::uint8_t* const end = bytes.data + bytes.size;
    while (true) {
        p = next_marker(p, end);
        if (p == nullptr)
            throw DecodeError("truncated JPEG: it ends within restart interval " +
                              std::to_string(starts.size() - 1) + " of " + std::to_string(count));
        const int next = *p++;
        const bool expected =
            starts.size() < count ? next == 0xD0 + static_cast<int>((starts.size() - 1) % 8) : next == 0xD9;
        if (!expected)
            throw DecodeError("damaged JPEG: wrong marker after restart interval " +
                              std::to_string(starts.size() - 1) + " of " + std::to_string(count));
        starts.push_back(static_cast<std::uint32_t>(p - bytes.data));
        if (starts.size() == count + 1) return;
    }
}

bool restart_markers_fit(ByteView bytes) {
    JpegLayout layout;
    try {
        layout = read_jpeg_layout(bytes);
    } catch (const DecodeError&) {
        return false;
    }
    const bool sequential = layout.huffman_sequential() || layout.frame_marker == 0xC9;  // C9: arithmetic
    if (!sequential || !layout.one_scan() || layout.restart_interval == 0) return true;
    const std::int64_t mcus = std::int64_t{layout.mcus_per_row} * layout.mcu_rows;
    const std::int64_t between = (mcus - 1) / layout.restart_interval;
    const std::uint8_t* p = bytes.data + layout.entropy_begin;
    for (std::int64_t i = 0;; i++) {
        p = next_marker(p, bytes.data + bytes.size);
        if (p == nullptr) return false;
        const bool is_restart = *p >= 0xD0 && *p <= 0xD7;
        if (i == between) return !is_restart;
        if (*p++ != 0xD0 + i % 8) return false;
    }
}

}  // namespace gs
