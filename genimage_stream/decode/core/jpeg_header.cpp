#include "jpeg_header.hpp"

#include <cstring>

namespace gs::jpeg {
namespace {

struct Reading {
    Header& header;
    bool jfif = false;
    bool adobe = false;
    int adobe_transform = 0;
    bool frame = false;
};

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

bool frame_header(Header& header, const std::uint8_t* p, std::size_t size) {
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

bool scan_header(Header& header, const std::uint8_t* p, std::size_t size) {
    const auto n = static_cast<std::size_t>(header.components);
    if (size != 4 + 2 * n || p[0] != header.components) return false;
    for (std::size_t i = 0; i < n; i++) {
        Component& c = header.component[i];
        if (p[1 + 2 * i] != c.id) return false;
        c.dc = p[2 + 2 * i] >> 4;
        c.ac = p[2 + 2 * i] & 15;
        if (c.dc > 3 || c.ac > 3) return false;
        if (header.dc[c.dc].counts == nullptr || header.ac[c.ac].counts == nullptr) return false;
        if (header.quant[c.quant] == nullptr) return false;
    }
    return p[1 + 2 * n] == 0 && p[2 + 2 * n] == 63 && p[3 + 2 * n] == 0;
}

// libjpeg's rule (jdapimin.c, default_decompress_parms) for three components: JFIF means YCbCr; without it an
// Adobe segment decides; without either, the component ids.
bool is_ycc(const Reading& r) {
    if (r.jfif) return true;
    if (r.adobe) return r.adobe_transform != 0;
    const Component* c = r.header.component;
    return !(c[0].id == 'R' && c[1].id == 'G' && c[2].id == 'B');
}

}  // namespace

bool read_header(ByteView b, Header& header) {
    header = Header{};
    Reading r{header};
    if (b.size < 4 || b.data[0] != 0xFF || b.data[1] != 0xD8) return false;
    std::size_t at = 2;
    while (true) {
        if (at >= b.size || b.data[at] != 0xFF) return false;
        while (at < b.size && b.data[at] == 0xFF) at++;
        if (at + 3 > b.size) return false;
        const int marker = b.data[at++];
        const std::size_t length = std::size_t{b.data[at]} << 8 | b.data[at + 1];
        if (length < 2 || length > b.size - at) return false;
        const std::uint8_t* p = b.data + at + 2;
        const std::size_t size = length - 2;
        at += length;
        if (marker == 0xE0) {
            if (size >= 14 && std::memcmp(p, "JFIF\0", 5) == 0) r.jfif = true;
        } else if (marker == 0xEE) {
            if (size >= 12 && std::memcmp(p, "Adobe", 5) == 0) {
                r.adobe = true;
                r.adobe_transform = p[11];
            }
        } else if (marker == 0xDB) {
            if (!quantisation(header, p, p + size)) return false;
        } else if (marker == 0xC4) {
            if (!huffman(header, p, p + size)) return false;
        } else if (marker == 0xDD) {
            if (size != 2) return false;
            header.restart_interval = p[0] << 8 | p[1];
        } else if (marker == 0xC0 || marker == 0xC1) {
            if (r.frame || !frame_header(header, p, size)) return false;
            r.frame = true;
        } else if (marker == 0xDA) {
            header.entropy_begin = at;
            return r.frame && scan_header(header, p, size) && (header.components == 1 || is_ycc(r));
        } else if (!((marker >= 0xE0 && marker <= 0xEF) || marker == 0xFE)) {
            return false;
        }
    }
}

}  // namespace gs::jpeg
