#include "jpeg/jpeg_header.hpp"

#include <cstring>

namespace gs::jpeg {
namespace {

bool quantisation(Header& header, const std::uint8_t* p, const std::uint8_t* end) {
    while (p < end) {
        const int precision = *p >> 4, number = *p & 15;
        p++;
        const std::ptrdiff_t size = precision ? 128 : 64;
        if (number > 3 || precision > 1 || end - p < size) return false;
        header.quant[number] = precision ? nullptr : p;
        p += size;
    }
    return true;
}

bool huffman(Header& header, const std::uint8_t* p, const std::uint8_t* end) {
    while (p < end) {
        if (end - p < 17) return false;
        const int kind = *p >> 4, number = *p & 15;
        p++;
        int symbols = 0;
        for (int i = 0; i < 16; i++) symbols += p[i];
        if (kind > 1 || number > 3 || symbols > 256 || end - p - 16 < symbols) return false;
        (kind ? header.ac : header.dc)[number] = {p, symbols};
        p += 16 + symbols;
    }
    return true;
}

}  // namespace

bool HeaderReader::frame_header(const std::uint8_t* p, std::size_t size) {
    Header& header = header_;
    if (size < 6 || p[0] != 8) return false;
    header.height = p[1] << 8 | p[2];
    header.width = p[3] << 8 | p[4];
    header.components = p[5];
    if (header.width < 1 || header.height < 1 || header.width > 65500 || header.height > 65500) return false;
    if (header.components != 1 && header.components != 3) return false;
    if (size != 6 + 3 * static_cast<std::size_t>(header.components)) return false;
    for (int i = 0; i < header.components; i++) {
        Component& c = header.component[i];
        c.id = p[6 + 3 * i];
        c.h = p[7 + 3 * i] >> 4;
        c.v = p[7 + 3 * i] & 15;
        c.quant = p[8 + 3 * i];
        if (c.quant > 3) return false;
        for (int j = 0; j < i; j++)
            if (header.component[j].id == c.id) return false;
    }
    Component* c = header.component;
    if (header.components == 1) {
        // The blocks of a single component come in raster order, whatever its sampling factors say.
        if (c[0].h < 1 || c[0].h > 4 || c[0].v < 1 || c[0].v > 4) return false;
        c[0].h = c[0].v = 1;
        return true;
    }
    for (int i = 1; i < 3; i++)
        if (c[i].h != 1 || c[i].v != 1) return false;
    const bool known = (c[0].v == 1 && (c[0].h == 1 || c[0].h == 2 || c[0].h == 4)) ||
                       (c[0].v == 2 && (c[0].h == 1 || c[0].h == 2));
    // Chroma rows of one or two samples are not filtered by libjpeg; such slivers are left to it.
    return known && header.width > 2 * c[0].h;
}

bool HeaderReader::scan_header(const std::uint8_t* p, std::size_t size) {
    ScanHeader& scan = header_.scan;
    if (size < 1 || p[0] < 1 || p[0] > header_.components) return false;
    scan.components = p[0];
    const auto n = static_cast<std::size_t>(scan.components);
    if (size != 4 + 2 * n) return false;
    int index = -1;
    for (std::size_t i = 0; i < n; i++) {
        do index++;
        while (index < header_.components && header_.component[index].id != p[1 + 2 * i]);
        if (index >= header_.components) return false;
        scan.component[i] = index;
        Component& c = header_.component[index];
        c.dc = p[2 + 2 * i] >> 4;
        c.ac = p[2 + 2 * i] & 15;
        if (c.dc > 3 || c.ac > 3 || header_.quant[c.quant] == nullptr) return false;
    }
    scan.first = p[1 + 2 * n];
    scan.last = p[2 + 2 * n];
    scan.high = p[3 + 2 * n] >> 4;
    scan.low = p[3 + 2 * n] & 15;
    if (header_.progressive) return true;
    return scan.components == header_.components && scan.first == 0 && scan.last == 63 && scan.high == 0 &&
           scan.low == 0;
}

// libjpeg's rule (jdapimin.c, default_decompress_parms) for three components: JFIF means YCbCr; without it an
// Adobe segment decides; without either, the component ids.
bool HeaderReader::is_ycc() const {
    if (jfif_) return true;
    if (adobe_) return adobe_transform_ != 0;
    const Component* c = header_.component;
    return !(c[0].id == 'R' && c[1].id == 'G' && c[2].id == 'B');
}

// Any segment but a scan header.
bool HeaderReader::segment(int marker, const std::uint8_t* p, std::size_t size) {
    switch (marker) {
        case 0xE0:
            if (size >= 14 && std::memcmp(p, "JFIF\0", 5) == 0) jfif_ = true;
            return true;
        case 0xEE:
            if (size >= 12 && std::memcmp(p, "Adobe", 5) == 0) {
                adobe_ = true;
                adobe_transform_ = p[11];
            }
            return true;
        case 0xDB:  // libjpeg keeps the tables of a component's first scan; files that change them are left
                    // to it
            return !scanned_ && quantisation(header_, p, p + size);
        case 0xC4:
            return huffman(header_, p, p + size);
        case 0xDD:
            if (size != 2) return false;
            header_.restart_interval = p[0] << 8 | p[1];
            return true;
        case 0xC0:
        case 0xC1:
        case 0xC2:
            if (frame_ || !frame_header(p, size)) return false;
            frame_ = true;
            header_.progressive = marker == 0xC2;
            return true;
        default:
            return (marker >= 0xE1 && marker <= 0xEF) || marker == 0xFE;
    }
}

HeaderReader::Found HeaderReader::begin() {
    header_ = Header{};
    if (bytes_.size < 4 || bytes_.data[0] != 0xFF || bytes_.data[1] != 0xD8) return Found::other;
    return read();
}

HeaderReader::Found HeaderReader::next(std::size_t at) {
    at_ = at;
    scanned_ = true;
    return read();
}

HeaderReader::Found HeaderReader::read() {
    const ByteView& b = bytes_;
    while (true) {
        if (at_ >= b.size || b.data[at_] != 0xFF) return Found::other;
        while (at_ < b.size && b.data[at_] == 0xFF) at_++;
        if (at_ >= b.size) return Found::other;
        const int marker = b.data[at_++];
        if (marker == 0xD9) return scanned_ ? Found::end : Found::other;
        if (at_ + 2 > b.size) return Found::other;
        const std::size_t length = std::size_t{b.data[at_]} << 8 | b.data[at_ + 1];
        if (length < 2 || length > b.size - at_) return Found::other;
        const std::uint8_t* p = b.data + at_ + 2;
        const std::size_t size = length - 2;
        at_ += length;
        if (marker != 0xDA) {
            if (!segment(marker, p, size)) return Found::other;
            continue;
        }
        header_.entropy_begin = at_;
        const bool taken =
            frame_ && scan_header(p, size) && (scanned_ || header_.components == 1 || is_ycc());
        return taken ? Found::scan : Found::other;
    }
}

}  // namespace gs::jpeg
