#include "image/divert.hpp"

#include <cstring>

#include "jpeg/jpeg_cut.hpp"
#include "jpeg/jpeg_layout.hpp"

namespace gs {
namespace {

// Three components that are RGB already: Adobe's transform flag says so, or the component names do.
bool stored_as_rgb(const JpegLayout& layout, const std::uint8_t* data) {
    if (layout.components.size() != 3) return false;
    for (const JpegSegment& s : layout.segments)
        if (s.marker == 0xEE && s.end - s.begin >= 16 && std::memcmp(data + s.begin + 4, "Adobe", 5) == 0)
            return data[s.begin + 15] == 0;
    return layout.components[0].id == 'R' && layout.components[1].id == 'G' && layout.components[2].id == 'B';
}

// Gray, 4:4:4, 4:2:2, 4:2:0 and 4:4:0: what GPUs have hardware for, and fancy upsampling is defined for.
bool usual_sampling(const JpegLayout& layout) {
    const auto& c = layout.components;
    if (c.size() == 1) return true;
    return c[0].h <= 2 && c[0].v <= 2 && c[1].h == 1 && c[1].v == 1 && c[2].h == 1 && c[2].v == 1;
}

}  // namespace

bool divert_jpeg(ByteView bytes, const ImageInfo& info, const Rect& window, Diverted& to) {
    if (info.format != Format::jpeg) return false;
    try {
        const JpegLayout layout = read_jpeg_layout(bytes);
        const std::size_t count = layout.components.size();
        if (!layout.huffman_sequential() || layout.precision != 8 || (count != 1 && count != 3) ||
            layout.scan_components != static_cast<int>(count) || !usual_sampling(layout) || layout.has_gaps ||
            stored_as_rgb(layout, bytes.data) || !has_end_marker(bytes, layout.entropy_begin))
            return false;
        Diverted cut;
        cut.inner = cut_jpeg(bytes, window, cut.bytes);
        if (cut.bytes.empty()) {
            if (!restart_markers_fit(bytes)) return false;  // the core judges; other decoders may not notice
            cut.bytes.assign(bytes.data, bytes.data + bytes.size);
        }
        to = std::move(cut);
        return true;
    } catch (const DecodeError&) {
        return false;
    }
}

}  // namespace gs
