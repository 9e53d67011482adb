#include "jpeg/jpeg_header.hpp"

#include <algorithm>
#include <cstring>

#include "base/big_endian.hpp"

namespace gs::jpeg {
namespace {

// The parameters of a segment, without marker and length.
ByteView parameters(ByteView bytes, const Segment& s) {
    return {bytes.data + s.begin + 4, s.end - s.begin - 4};
}

// Tables are read as far as they are whole.
void read_quantisation(ByteView segment, Header& header) {
    const std::uint8_t* p = segment.data;
    const std::uint8_t* const end = p + segment.size;
    while (p < end) {
        const int precision = *p >> 4, number = *p & 15;
        p++;
        const std::ptrdiff_t size = precision ? 128 : 64;
        header.is_unusual |= number > 3 || precision > 1 || end - p < size;
        if (end - p < size) return;
        if (number < 4) header.quant[number] = {p, precision != 0};
        p += size;
    }
}

void read_huffman(ByteView segment, Header& header) {
    const std::uint8_t* p = segment.data;
    const std::uint8_t* const end = p + segment.size;
    while (p < end) {
        int symbols = 0;
        if (end - p >= 17)
            for (int i = 1; i <= 16; i++) symbols += p[i];
        const int kind = *p >> 4, number = *p & 15;
        if (end - p < 17 + symbols || kind > 1 || number > 3 || symbols > 256) {
            header.is_unusual = true;
            return;
        }
        (kind ? header.ac : header.dc)[number] = {p + 1, symbols};
        p += 17 + symbols;
    }
}

void read_frame(ByteView bytes, const Segment& s, Header& header) {
    const ByteView segment = parameters(bytes, s);
    const std::uint8_t* p = segment.data;
    if (segment.size < 6) throw DecodeError("damaged JPEG: frame header too short");
    if (header.frame != 0) header.contradiction = "damaged JPEG: two frame headers";
    header.frame = s.code;
    header.frame_at = s.begin;
    header.precision = p[0];
    header.height = big16(p + 1);
    header.width = big16(p + 3);
    header.components = p[5];
    header.h_max = header.v_max = 1;
    const std::size_t needed = 6 + std::size_t{3} * p[5];
    if (segment.size < needed) header.contradiction = "damaged JPEG: frame header too short";
    header.is_unusual |= segment.size != needed;
    const auto listed = static_cast<int>((segment.size - 6) / 3);
    for (int i = 0; i < std::min(header.components, listed); i++) {
        const std::uint8_t* c = p + 6 + 3 * i;
        const int h = c[1] >> 4, v = c[1] & 15;
        if (h < 1 || h > 4 || v < 1 || v > 4)
            header.contradiction = "damaged JPEG: impossible sampling factor";
        // A scan of one component has one block per MCU, whatever its sampling factors (T.81, A.2.2).
        const bool single = header.components == 1;
        if (i < 4) header.component[i] = {c[0], single ? 1 : h, single ? 1 : v, c[2], 0, 0};
        if (single) return;
        header.h_max = std::max(header.h_max, h);
        header.v_max = std::max(header.v_max, v);
    }
}

void read_scan_header(ByteView segment, Header& header) {
    ScanHeader& scan = header.scan;
    const std::uint8_t* p = segment.data;
    if (segment.size < 4) header.contradiction = "damaged JPEG: scan header too short";
    scan.components = segment.size > 0 ? p[0] : 0;
    const auto n = static_cast<std::size_t>(scan.components);
    if (n < 1 || n > 4 || scan.components > header.components || segment.size != 4 + 2 * n) {
        header.is_unusual = true;
        return;
    }
    int index = -1;
    for (std::size_t i = 0; i < n; i++) {
        do index++;
        while (index < std::min(header.components, 4) && header.component[index].id != p[1 + 2 * i]);
        if (index >= std::min(header.components, 4)) {
            header.is_unusual = true;
            return;
        }
        scan.component[i] = index;
        Component& c = header.component[index];
        c.dc = p[2 + 2 * i] >> 4;
        c.ac = p[2 + 2 * i] & 15;
        header.is_unusual |= c.dc > 3 || c.ac > 3;
    }
    scan.first = p[1 + 2 * n];
    scan.last = p[2 + 2 * n];
    scan.high = p[3 + 2 * n] >> 4;
    scan.low = p[3 + 2 * n] & 15;
}

void take(ByteView bytes, const Segment& s, Header& header) {
    if (s.is_bare()) {
        header.is_unusual = true;
        header.has_gaps |= s.is_restart();
        if (s.code == 0xD8) header.contradiction = "damaged JPEG: misplaced marker";
        return;
    }
    if (s.is_frame()) return read_frame(bytes, s, header);
    const ByteView segment = parameters(bytes, s);
    switch (s.code) {
        case 0xDB:
            return read_quantisation(segment, header);
        case 0xC4:
            return read_huffman(segment, header);
        case 0xDD:
            if (segment.size == 2)
                header.restart_interval = big16(segment.data);
            else
                header.contradiction = "damaged JPEG: restart interval of a wrong length";
            return;
        case 0xDA:
            header.entropy_begin = s.end;
            return read_scan_header(segment, header);
        case 0xE0:
            header.has_jfif |= s.starts_with(bytes, "JFIF\0", 5, 14);
            return;
        case 0xEE:
            if (!s.starts_with(bytes, "Adobe", 5, 12)) return;
            header.has_adobe = true;
            header.adobe_transform = segment.data[11];
            return;
        case 0xCC:  // conditioning of arithmetic coding
        case 0xDC:  // the number of lines
            header.is_unusual = true;
            return;
        default:
            if (!s.is_metadata()) header.contradiction = "damaged JPEG: unknown marker";
    }
}

}  // namespace

const std::uint8_t* next_marker(const std::uint8_t* at, const std::uint8_t* end) {
    while (at < end) {
        at = static_cast<const std::uint8_t*>(std::memchr(at, 0xFF, static_cast<std::size_t>(end - at)));
        if (at == nullptr) return nullptr;
        at++;
        if (at < end && *at != 0 && *at != 0xFF) return at;  // neither stuffed data nor a fill byte
    }
    return nullptr;
}

bool Segment::starts_with(ByteView file, const char* magic, std::size_t magic_size, std::size_t size) const {
    return end - begin >= 4 + std::max(size, magic_size) &&
           std::memcmp(file.data + begin + 4, magic, magic_size) == 0;
}

bool Markers::next(Segment& segment) {
    const std::uint8_t* const from = bytes_.data + std::min(at_, bytes_.size);
    const std::uint8_t* const code = next_marker(from, bytes_.data + bytes_.size);
    if (code == nullptr) return false;
    const std::uint8_t* first = from;
    while (first + 1 < code && *first == 0xFF) first++;  // fill bytes
    passed_over_ |= first + 1 < code;
    segment.code = *code;
    segment.begin = static_cast<std::size_t>(code - 1 - bytes_.data);
    segment.end = segment.begin + 2;
    if (!segment.is_bare()) {
        if (segment.end + 2 > bytes_.size) return false;
        const auto length = static_cast<std::size_t>(big16(code + 1));
        if (length < 2 || length > bytes_.size - segment.end) return false;
        segment.end += length;
    }
    at_ = segment.end;
    return true;
}

// jdapimin.c, default_decompress_parms: JFIF means YCbCr; without it an Adobe segment decides; without
// either, the names of the components.
bool Header::is_ycc() const {
    if (has_jfif) return true;
    if (has_adobe) return adobe_transform != 0;
    return !(component[0].id == 'R' && component[1].id == 'G' && component[2].id == 'B');
}

Header read_header(ByteView bytes) {
    if (bytes.size < 2 || bytes.data[0] != 0xFF || bytes.data[1] != 0xD8) throw DecodeError("not a JPEG");
    Header header;
    Markers markers(bytes);
    Segment s;
    do {
        if (!markers.next(s)) throw DecodeError("truncated JPEG: it ends within the header");
        if (s.code == 0xD9) throw DecodeError("JPEG without an image: end marker within the header");
        take(bytes, s, header);
    } while (s.code != 0xDA);
    if (header.components == 0) throw DecodeError("damaged JPEG: no frame header");
    if (header.width == 0 || header.height == 0) throw DecodeError("damaged JPEG: width or height of zero");
    header.has_gaps |= markers.passed_over_bytes();
    header.is_unusual |= header.has_gaps || header.contradiction != nullptr;
    return header;
}

Found read_next_scan(ByteView bytes, std::size_t at, Header& header) {
    Markers markers(bytes, at);
    Segment s;
    do {
        if (!markers.next(s) || markers.passed_over_bytes()) return Found::unusual;
        if (s.code == 0xD9) return Found::end;
        // libjpeg keeps the tables of a component's first scan; files that change them are left to it.
        if (s.code == 0xDB || s.is_frame()) return Found::unusual;
        take(bytes, s, header);
        if (header.is_unusual || header.contradiction != nullptr) return Found::unusual;
    } while (s.code != 0xDA);
    return Found::scan;
}

}  // namespace gs::jpeg
