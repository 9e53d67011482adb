#include "jpeg/jpeg_progressive.hpp"

#include <algorithm>
#include <cstring>

namespace gs::jpeg {

bool ProgressiveImage::make_planes(ByteView bytes, const Header& header) {
    std::size_t blocks = 0;
    for (int i = 0; i < header.components; i++) {
        const Component& c = header.component[i];
        const int width = (header.width * c.h + header.h_max - 1) / header.h_max;
        const int height = (header.height * c.v + header.v_max - 1) / header.v_max;
        planes_[i] = {nullptr, header.mcus_per_row() * c.h, (width + 7) / 8, (height + 7) / 8, c.h, c.v};
        blocks +=
            static_cast<std::size_t>(planes_[i].stride) * static_cast<std::size_t>(header.mcu_rows() * c.v);
    }
    const std::size_t size = blocks * kBlockEntries * sizeof(std::int16_t);
    // The DC scans have at least a bit for each block; what the bytes cannot fill is left to libjpeg's
    // judgement before the memory is taken.
    if (blocks / 8 > bytes.size) return false;
    auto* at = reinterpret_cast<std::int16_t*>(blocks_.reserve(size));
    std::memset(at, 0, size);
    for (int i = 0; i < header.components; i++) {
        planes_[i].blocks = at;
        at +=
            static_cast<std::ptrdiff_t>(planes_[i].stride) * header.mcu_rows() * planes_[i].v * kBlockEntries;
    }
    return true;
}

bool ProgressiveImage::read(ByteView bytes, Header& header, Scan& scan, HuffmanTable* dc, HuffmanTable* ac,
                            const Kernels& kernels) {
    if (!make_planes(bytes, header)) return false;
    std::memset(known_, -1, sizeof known_);

    Found found = Found::scan;
    for (int scans = 0; found == Found::scan; scans++) {
        if (scans == kMostScans || !note_progress(header.scan)) return false;
        if (!read_scan(bytes, header, scan, dc, ac, kernels)) return false;
        found = read_next_scan(bytes, scan.data.end(), header);
    }
    if (found != Found::end) return false;
    for (int i = 0; i < header.components; i++)
        for (const std::int8_t bit : known_[i])
            if (bit != 0) return false;
    return true;
}

// The order of scans that libjpeg accepts without a warning (jdphuff.c, start_pass_phuff_decoder).
bool ProgressiveImage::note_progress(const ScanHeader& scan) {
    const bool dc = scan.first == 0;
    if (dc ? scan.last != 0 : scan.first > scan.last || scan.last > 63 || scan.components != 1) return false;
    if (scan.low > 13 || (scan.high != 0 && scan.low != scan.high - 1)) return false;
    for (int i = 0; i < scan.components; i++) {
        std::int8_t* known = known_[scan.component[i]];
        if (!dc && known[0] < 0) return false;
        for (int k = scan.first; k <= scan.last; k++) {
            if (scan.high != std::max<int>(known[k], 0)) return false;
            if (scan.high == 0 && known[k] >= 0) return false;  // sent before
            known[k] = static_cast<std::int8_t>(scan.low);
        }
    }
    return true;
}

bool ProgressiveImage::read_scan(ByteView bytes, const Header& header, Scan& scan, HuffmanTable* dc,
                                 HuffmanTable* ac, const Kernels& kernels) {
    ProgressiveScan& s = current_;
    s.header = header.scan;
    for (int i = 0; i < s.header.components; i++) {
        const Component& c = header.component[s.header.component[i]];
        s.plane[i] = &planes_[s.header.component[i]];
        if (s.header.first > 0) {
            const auto use = s.header.high ? HuffmanTable::Use::ac_refinement : HuffmanTable::Use::ac_first;
            if (header.ac[c.ac].counts == nullptr || !ac[c.ac].build(header.ac[c.ac], use)) return false;
            s.ac = &ac[c.ac];
        } else if (s.header.high == 0) {
            if (header.dc[c.dc].counts == nullptr || !dc[c.dc].build(header.dc[c.dc], HuffmanTable::Use::dc))
                return false;
            s.dc[i] = &dc[c.dc];
        }
    }
    return enter_scan(bytes, header, scan) && kernels.scan(scan, s) && scan.reader.at_end();
}

bool ProgressiveImage::read_sequential(ByteView bytes, const Header& header, Scan& scan,
                                       const HuffmanTable* dc, const HuffmanTable* ac,
                                       const Kernels& kernels) {
    if (!make_planes(bytes, header)) return false;
    ProgressiveScan& s = current_;
    s.header = header.scan;
    for (int i = 0; i < header.components; i++) {
        s.plane[i] = &planes_[i];
        s.dc[i] = &dc[header.component[i].dc];
        s.sequential_ac[i] = &ac[header.component[i].ac];
    }
    return enter_scan(bytes, header, scan) && kernels.scan(scan, s) && scan.reader.at_end();
}

// Prepares the entropy-coded data of the current scan.
bool ProgressiveImage::enter_scan(ByteView bytes, const Header& header, Scan& scan) {
    ProgressiveScan& s = current_;
    if (s.header.components == 1) {
        s.mcus_per_row = s.plane[0]->width;
        s.mcu_rows = s.plane[0]->height;
    } else {
        s.mcus_per_row = header.mcus_per_row();
        s.mcu_rows = header.mcu_rows();
    }
    for (int k = 0; k < 576; k++)
        s.place[k] = static_cast<std::uint8_t>(k <= s.header.last ? k : kBlockDummy);

    const std::int64_t mcus = std::int64_t{s.mcus_per_row} * s.mcu_rows;
    scan.interval_mcus = header.restart_interval > 0 ? header.restart_interval : mcus;
    const auto count = static_cast<std::size_t>((mcus + scan.interval_mcus - 1) / scan.interval_mcus);
    if (!scan.data.unwrap(bytes, header.entropy_begin, count, 0, count - 1)) return false;
    scan.enter(0);
    return true;
}

}  // namespace gs::jpeg
