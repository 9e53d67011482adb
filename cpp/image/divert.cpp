#include "image/divert.hpp"

#include "jpeg/jpeg_cut.hpp"
#include "jpeg/jpeg_entropy.hpp"

namespace gs {
namespace {

// Gray, or YCbCr beyond doubt: JFIF and an Adobe segment that says RGB are understood in both ways.
bool is_gray_or_ycc(const jpeg::Header& header) {
    if (header.components != 3) return header.components == 1;
    return header.is_ycc() && !(header.has_adobe && header.adobe_transform == 0);
}

// Gray, 4:4:4, 4:2:2, 4:2:0 and 4:4:0: what GPUs have hardware for, and fancy upsampling is defined for.
bool has_usual_sampling(const jpeg::Header& header) {
    const jpeg::Component* c = header.component;
    if (header.components == 1) return true;
    return c[0].h <= 2 && c[0].v <= 2 && c[1].h == 1 && c[1].v == 1 && c[2].h == 1 && c[2].v == 1;
}

}  // namespace

bool divert_jpeg(ByteView bytes, const ImageInfo& info, const Rect& window, Diverted& to) {
    if (info.format != Format::jpeg) return false;
    const jpeg::Header& header = info.jpeg;
    if (header.contradiction != nullptr || !header.is_huffman_sequential() || header.precision != 8 ||
        !is_gray_or_ycc(header) || !header.has_one_scan() || !has_usual_sampling(header) || header.has_gaps ||
        !jpeg::has_end_marker(bytes, header.entropy_begin))
        return false;
    try {
        Diverted cut;
        cut.inner = jpeg::cut(bytes, header, window, cut.bytes);
        if (cut.bytes.empty()) {
            // The core judges; other decoders may not notice.
            if (!jpeg::restart_markers_fit(bytes, header)) return false;
            cut.bytes.assign(bytes.data, bytes.data + bytes.size);
        }
        to = std::move(cut);
        return true;
    } catch (const DecodeError&) {
        return false;
    }
}

}  // namespace gs
