#include "jpeg/jpeg_own.hpp"

#include <algorithm>
#include <cstring>

namespace gs::jpeg {
namespace {

constexpr int kMargin = 64;  // bytes before and behind each row of samples
constexpr int kRowsAtOnce = 16;

std::ptrdiff_t round_up(std::ptrdiff_t v, std::ptrdiff_t to) {
    return (v + to - 1) / to * to;
}

// Whether a file is one for this decoder.
bool takes(const Header& header) {
    if (header.is_unusual || header.frame < 0xC0 || header.frame > 0xC2 || header.precision != 8)
        return false;
    if (header.width > 65500 || header.height > 65500) return false;  // libjpeg's limit
    const Component* c = header.component;
    if (header.components != 1 && header.components != 3) return false;
    for (int i = 0; i < header.components; i++) {
        if (c[i].quant > 3 || header.quant[c[i].quant].values == nullptr || header.quant[c[i].quant].is_wide)
            return false;
        for (int j = 0; j < i; j++)
            if (c[j].id == c[i].id) return false;
    }
    const ScanHeader& scan = header.scan;
    if (!header.is_progressive() &&
        (!header.has_one_scan() || scan.first != 0 || scan.last != 63 || scan.high != 0 || scan.low != 0))
        return false;
    if (header.components == 1) return true;
    for (int i = 1; i < 3; i++)
        if (c[i].h != 1 || c[i].v != 1) return false;
    const bool known = (c[0].v == 1 && (c[0].h == 1 || c[0].h == 2 || c[0].h == 4)) ||
                       (c[0].v == 2 && (c[0].h == 1 || c[0].h == 2));
    // Chroma rows of one or two samples are not filtered by libjpeg; such slivers are left to it.
    return known && header.width > 2 * c[0].h && header.is_ycc();
}

}  // namespace

bool OwnDecoder::decode(ByteView bytes, const Header& header, const Rect& crop, const Kernels& kernels,
                        RowSink& sink, bool keep) {
    if (!prepare(bytes, header, crop, kernels, keep)) return false;
    const int mcu_height = 8 * header_.v_max;
    const int crop_end = crop.y + crop.height;
    int emitted = crop.y;
    for (int row = region_.top; row < region_.bottom; row++) {
        if (!decode_row(row, kernels)) return false;
        pad_edges();
        // With vertical filtering the last row waits for the MCU row below.
        int ready = (row + 1) * mcu_height - (header_.v_max == 2 && row + 1 < header_.mcu_rows() ? 1 : 0);
        ready = std::min(ready, crop_end);
        if (ready > emitted) emit(row, emitted, ready, crop, kernels, sink);
        emitted = std::max(emitted, ready);
        keep_last_rows();
    }
    // At the very end of a sequential scan nothing but the filling of the last byte may be left over.
    const std::int64_t mcus = std::int64_t{header_.mcus_per_row()} * header_.mcu_rows();
    return from_coefficients_ || position_ < mcus || scan_.reader.at_end();
}

bool OwnDecoder::prepare(ByteView bytes, const Header& header, const Rect& crop, const Kernels& kernels,
                         bool keep) {
    if (!takes(header)) return false;
    header_ = header;
    const int h = header_.h_max, v = header_.v_max;
    const int right = crop.x + crop.width - 1, bottom = crop.y + crop.height - 1;
    // The filters reach one chroma sample further on each side.
    const int reach_x = h == 2 ? 2 : 0, reach_y = v == 2 ? 1 : 0;
    region_.left = std::max(crop.x - reach_x, 0) / (8 * h);
    region_.right = std::min((right + reach_x) / (8 * h) + 1, header_.mcus_per_row());
    region_.top = std::max(crop.y - reach_y, 0) / (8 * v);
    region_.bottom = std::min((bottom + reach_y) / (8 * v) + 1, header_.mcu_rows());
    make_group();
    make_planes();
    pixels_.reserve(
        static_cast<std::size_t>(kRowsAtOnce * round_up(3 * std::ptrdiff_t{crop.width} + kRowSlack, 64)));
    for (Buffer& row : upsampled_) row.reserve(static_cast<std::size_t>(crop.width) + 8 + 2 * kRowSlack);
    from_coefficients_ = header_.is_progressive() || keep;
    if (header_.is_progressive()) return progressive_.read(bytes, header_, scan_, dc_, ac_, kernels);
    return build_tables() &&
           (keep ? progressive_.read_sequential(bytes, header_, scan_, dc_, ac_, kernels)
                 : prepare_scan(bytes)) &&
           read_next_scan(bytes, scan_.data.end(), header_) == Found::end;
}

bool OwnDecoder::prepare_scan(ByteView bytes) {
    const std::int64_t per_row = header_.mcus_per_row(), mcus = per_row * header_.mcu_rows();
    const std::int64_t in_interval = header_.restart_interval > 0 ? header_.restart_interval : mcus;
    const auto count = static_cast<std::size_t>((mcus + in_interval - 1) / in_interval);
    const auto first = static_cast<std::size_t>((region_.top * per_row + region_.left) / in_interval);
    const auto last =
        static_cast<std::size_t>(((region_.bottom - 1) * per_row + region_.right - 1) / in_interval);
    if (!scan_.data.unwrap(bytes, header_.entropy_begin, count, first, last)) return false;
    scan_.interval_mcus = in_interval;
    scan_.enter(first);
    position_ = static_cast<std::int64_t>(first) * in_interval;
    return true;
}

bool OwnDecoder::decode_row(int row, const Kernels& kernels) {
    SamplePlane planes[3];
    for (int c = 0; c < header_.components; c++)
        planes[c] = {planes_[c].origin, planes_[c].stride, 8 * header_.component[c].h * scan_.group.mcus};
    const int mcus = region_.right - region_.left;
    if (from_coefficients_)
        return kernels.render(scan_, progressive_.planes(), row, region_.left, mcus, planes);
    if (!move_to(std::int64_t{row} * header_.mcus_per_row() + region_.left, kernels)) return false;
    position_ += mcus;
    return kernels.decode(scan_, mcus, planes);
}

bool OwnDecoder::build_tables() {
    for (int i = 0; i < header_.components; i++) {
        const Component& c = header_.component[i];
        const HuffmanSpec &dc = header_.dc[c.dc], &ac = header_.ac[c.ac];
        if (dc.counts == nullptr || ac.counts == nullptr) return false;
        if (!dc_[c.dc].build(dc, HuffmanTable::Use::dc) || !ac_[c.ac].build(ac, HuffmanTable::Use::ac))
            return false;
    }
    return true;
}

// What the blocks of an MCU are, how they pair up, and where their samples go.
void OwnDecoder::make_group() {
    ScanGroup& group = scan_.group;
    const Component* c = header_.component;
    const int luma = c[0].h * c[0].v;
    group.blocks_per_mcu = header_.components == 1 ? 1 : luma + 2;
    group.mcus = luma == 1 ? 2 : 1;
    group.pairs = group.mcus * group.blocks_per_mcu / 2;
    std::memset(scan_.coefficients, 0, sizeof scan_.coefficients);  // a damaged image may have left something
    for (int i = 0; i < group.mcus * group.blocks_per_mcu; i++) {
        const int mcu = i / group.blocks_per_mcu, in_mcu = i % group.blocks_per_mcu;
        const int component = in_mcu < luma ? 0 : in_mcu - luma + 1;
        ScanBlock& block = group.block[i];
        block = {&dc_[c[component].dc], &ac_[c[component].ac], component, i / 2, i % 2};
        ScanTarget target{component, 0, 0};
        if (group.mcus == 2) {  // the same block of both MCUs
            block.pair = in_mcu;
            block.lane = mcu;
            target.x = 8 * mcu;
        } else if (component == 0) {
            target.x = in_mcu % c[0].h * 8;
            target.y = in_mcu / c[0].h * 8;
        }
        group.pair[block.pair].target[block.lane] = target;
    }
    for (int i = 0; i < group.pairs; i++) {
        const ScanTarget* target = group.pair[i].target;
        const std::uint8_t* table[2];
        for (int lane = 0; lane < 2; lane++)
            table[lane] = header_.quant[c[target[lane].component].quant].values;
        make_quant_pair(table[0], table[1], group.pair[i].quant);
    }
}

void OwnDecoder::make_planes() {
    const int mcus = region_.right - region_.left;
    for (int i = 0; i < header_.components; i++) {
        const Component& c = header_.component[i];
        Plane& p = planes_[i];
        p.width = (header_.width * c.h + header_.h_max - 1) / header_.h_max;
        p.height = (header_.height * c.v + header_.v_max - 1) / header_.v_max;
        p.first_x = region_.left * 8 * c.h;
        p.decoded = mcus * 8 * c.h;
        p.mcu_rows = 8 * c.v;
        p.stride = round_up(p.decoded + 8, 64) + 2 * kMargin;
        // One row above for the MCU row before, one more so that the last row has its margin behind it.
        p.buffer.reserve(static_cast<std::size_t>(p.stride * (p.mcu_rows + 2)));
        p.origin = p.buffer.data() + p.stride + kMargin;
    }
}

// Decodes nothing but goes on to MCU number `mcu`: from the start of its restart interval, or from
// where we are.
bool OwnDecoder::move_to(std::int64_t mcu, const Kernels& kernels) {
    const std::int64_t interval = mcu / scan_.interval_mcus;
    if (interval > (position_ - 1) / scan_.interval_mcus && interval * scan_.interval_mcus > position_) {
        scan_.enter(static_cast<std::size_t>(interval));
        position_ = interval * scan_.interval_mcus;
    }
    const std::int64_t ahead = mcu - position_;
    position_ = mcu;
    return kernels.skip(scan_, ahead);
}

// Chroma continues beyond the image's edges by its outermost samples, as libjpeg's filters have it.
void OwnDecoder::pad_edges() {
    for (int i = 1; i < header_.components; i++) {
        const Plane& p = planes_[i];
        const int end = p.width - p.first_x;  // the column behind the last one
        for (int y = 0; y < p.mcu_rows; y++) {
            std::uint8_t* row = p.origin + y * p.stride;
            row[-1] = row[0];
            if (end <= p.decoded) row[end] = row[end - 1];
        }
    }
}

void OwnDecoder::keep_last_rows() {
    if (header_.v_max == 1) return;
    for (int i = 0; i < header_.components; i++) {
        const Plane& p = planes_[i];
        std::memcpy(p.origin - p.stride - 1, p.origin + (p.mcu_rows - 1) * p.stride - 1,
                    static_cast<std::size_t>(p.decoded) + 2);
    }
}

void OwnDecoder::emit(int mcu_row, int begin, int end, const Rect& crop, const Kernels& kernels,
                      RowSink& sink) {
    const std::ptrdiff_t stride = round_up(3 * std::ptrdiff_t{crop.width} + kRowSlack, 64);
    const Plane& luma = planes_[0];
    for (int first = begin; first < end; first += kRowsAtOnce) {
        const int count = std::min(kRowsAtOnce, end - first);
        for (int i = 0; i < count; i++) {
            const int y = first + i;
            const std::uint8_t* row =
                luma.origin + (y - mcu_row * luma.mcu_rows) * luma.stride + crop.x - luma.first_x;
            std::uint8_t* to = pixels_.data() + i * stride;
            if (header_.components == 1) {
                kernels.gray_to_rgb(row, crop.width, to);
                continue;
            }
            const std::uint8_t* cb = chroma_row(1, mcu_row, y, crop, kernels);
            const std::uint8_t* cr = chroma_row(2, mcu_row, y, crop, kernels);
            kernels.ycc_to_rgb(row, cb, cr, crop.width, to);
        }
        sink.rows(first - crop.y, count, pixels_.data(), stride);
    }
}

// The chroma of image row `y` at full resolution, from the crop's left edge on.
const std::uint8_t* OwnDecoder::chroma_row(int component, int mcu_row, int y, const Rect& crop,
                                           const Kernels& kernels) {
    const Plane& p = planes_[component];
    const int h = header_.h_max, v = header_.v_max;
    const int left = crop.x / h, count = (crop.x + crop.width - 1) / h - left + 1;
    const auto row = [&](int sample_row) {
        return p.origin + (sample_row - mcu_row * 8) * p.stride + left - p.first_x;
    };
    if (h == 1 && v == 1) return row(y);
    const int near = y / v;
    const int far = std::clamp(y % 2 ? near + 1 : near - 1, 0, p.height - 1);
    std::uint8_t* out = upsampled_[component - 1].data();
    if (h == 2 && v == 2)
        kernels.upsample_h2v2(row(near), row(far), count, out);
    else if (h == 2)
        kernels.upsample_h2(row(near), count, out);
    else if (v == 2)
        kernels.upsample_v2(row(near), row(far), count, y % 2 ? 2 : 1, out);
    else
        for (int i = 0; i < count; i++) std::memset(out + i * h, row(near)[i], static_cast<std::size_t>(h));
    return out + (crop.x - left * h);
}

}  // namespace gs::jpeg
