#include "image/inspect.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/big_endian.hpp"

namespace gs {
namespace {

bool starts(ByteView b, const char* magic, std::size_t n, std::size_t at = 0) {
    return b.size >= at + n && std::memcmp(b.data + at, magic, n) == 0;
}

// ISO/IEC 14496-12, 4.3: the file says what it is (major brand) and what else it may be read as. Files of the
// general HEIF brands are AVIF when that is among the latter.
bool is_avif(ByteView b) {
    if (!starts(b, "ftyp", 4, 4)) return false;
    const auto brand = [&](std::size_t at) { return starts(b, "avif", 4, at) || starts(b, "avis", 4, at); };
    if (brand(8)) return true;
    if (!starts(b, "mif1", 4, 8) && !starts(b, "msf1", 4, 8)) return false;
    const std::size_t box = big32(b.data);
    for (std::size_t at = 16; at + 4 <= std::min(box, b.size); at += 4)
        if (brand(at)) return true;
    return false;
}

// ITU-T T.81, table K.1, in any order: only its scaled sums are used.
constexpr int kStandardLuminance[64] = {
    16, 11,  12, 14, 12, 10, 16,  14,  13,  14, 18, 17,  16,  19,  24,  40,  26, 24,  22,  22, 24, 49,
    35, 37,  29, 40, 58, 51, 61,  60,  57,  51, 56, 55,  64,  72,  92,  78,  64, 68,  87,  69, 55, 56,
    80, 109, 81, 87, 95, 98, 103, 104, 103, 62, 77, 113, 121, 112, 100, 120, 92, 101, 103, 99};

// Sums of the luminance table as the IJG library scales it for qualities 1 to 100 (jpeg_quality_scaling).
struct QualitySums {
    int of[101] = {};
    constexpr QualitySums() {
        for (int q = 1; q <= 100; q++) {
            const int scale = q < 50 ? 5000 / q : 200 - 2 * q;
            for (int value : kStandardLuminance) {
                const int scaled = (value * scale + 50) / 100;
                of[q] += scaled < 1 ? 1 : scaled > 255 ? 255 : scaled;
            }
        }
    }
};

// The IJG quality whose luminance table has the sum nearest to this one's: exact for files of IJG's library
// and its descendants, an estimate for others. -1: there is no table.
int estimate_quality(const jpeg::QuantTable& table) {
    static constexpr QualitySums kSums;
    if (table.values == nullptr) return -1;
    int sum = 0;
    for (int i = 0; i < 64; i++) sum += table.is_wide ? big16(table.values + 2 * i) : table.values[i];
    int best = 1;
    for (int q = 2; q <= 100; q++)
        if (std::abs(kSums.of[q] - sum) <= std::abs(kSums.of[best] - sum)) best = q;
    return best;
}

// How much larger the luma plane is than both chroma planes, by its common names.
const char* chroma_of(const jpeg::Header& header) {
    if (header.components != 3) return "other";
    const auto &y = header.component[0], &cb = header.component[1], &cr = header.component[2];
    if (cb.h != cr.h || cb.v != cr.v || cb.h == 0 || cb.v == 0 || y.h % cb.h != 0 || y.v % cb.v != 0)
        return "other";
    const int across = y.h / cb.h, down = y.v / cb.v;
    if (across == 1 && down == 1) return "444";
    if (across == 2) return down == 1 ? "422" : down == 2 ? "420" : "other";
    return "other";
}

void inspect_jpeg(ByteView b, ImageInfo& info) {
    const jpeg::Header& header = info.jpeg = jpeg::read_header(b);
    info.width = header.width;
    info.height = header.height;
    info.bit_depth = header.precision;
    info.progressive = header.is_progressive();
    info.jpeg_quality = estimate_quality(header.quant[0]);
    info.chroma = chroma_of(header);
    const int components = header.components;
    info.mode = components == 1 ? "L" : components == 3 ? "RGB" : components == 4 ? "CMYK" : "";
}

void inspect_png(ByteView b, ImageInfo& info) {
    const png::Header& header = info.png = png::read_header(b);
    info.width = header.width;
    info.height = header.height;
    info.bit_depth = header.bit_depth;
    info.progressive = header.interlaced;
    switch (header.color) {
        case png::Color::gray:
            info.mode = info.bit_depth == 1 ? "1" : info.bit_depth == 16 ? "I;16" : "L";
            break;
        case png::Color::rgb:
            info.mode = "RGB";
            break;
        case png::Color::palette:
            info.mode = "P";
            break;
        case png::Color::gray_alpha:
            info.mode = "LA";
            break;
        case png::Color::rgba:
            info.mode = "RGBA";
            break;
    }
}

void inspect_webp(ByteView b, ImageInfo& info) {
    info.webp = read_webp_header(b);
    info.width = info.webp.width;
    info.height = info.webp.height;
    info.mode = info.webp.has_alpha ? "RGBA" : "RGB";
}

// Whether text begins so, whatever its letters' case, behind a byte order mark and white space.
bool begins_as_text(ByteView b, const char* words) {
    std::size_t at = starts(b, "\xEF\xBB\xBF", 3) ? 3 : 0;
    while (at < b.size && std::strchr(" \t\r\n", b.data[at]) != nullptr && b.data[at] != 0) ++at;
    for (; *words != 0; ++words, ++at) {
        if (at >= b.size) return false;
        const int letter = b.data[at];
        if ((letter >= 'A' && letter <= 'Z' ? letter + 32 : letter) != *words) return false;
    }
    return true;
}

bool holds_early(ByteView b, const char* words) {
    const std::uint8_t* end = b.data + std::min<std::size_t>(b.size, 1024);
    return std::search(b.data, end, words, words + std::strlen(words)) != end;
}

// What lies in place of an image, with the way out.
const char* what_it_is(ByteView b) {
    if (starts(b, "version https://git-lfs", 23))
        return "not an image but a Git LFS pointer to one: fetch the files by `git lfs pull`";
    if (begins_as_text(b, "<!doctype html") || begins_as_text(b, "<html"))
        return "not an image but a web page, as servers send in place of a file: download it again";
    if (begins_as_text(b, "<svg") || (begins_as_text(b, "<?xml") && holds_early(b, "<svg")))
        return "an SVG drawing, which has no pixels: render it as PNG";
    if (starts(b, "ftyp", 4, 4))
        for (const char* brand : {"heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1"})
            if (starts(b, brand, 4, 8)) return "a HEIC image, which is not read: convert it to PNG";
    if (starts(b, "\xFF\x0A", 2) || starts(b, "\0\0\0\x0CJXL \r\n\x87\n", 12))
        return "a JPEG XL image, which is not read: convert it by `djxl`, which gives JPEGs back that it was "
               "made of";
    return "not an image: no known format begins like this (JPEG, PNG, WebP, AVIF, TIFF, GIF, BMP)";
}

}  // namespace

Format sniff(ByteView b) {
    if (starts(b, "\xFF\xD8\xFF", 3)) return Format::jpeg;
    if (starts(b, "\x89PNG\r\n\x1a\n", 8)) return Format::png;
    if (starts(b, "RIFF", 4) && starts(b, "WEBP", 4, 8)) return Format::webp;
    if (is_avif(b)) return Format::avif;
    if (starts(b, "GIF87a", 6) || starts(b, "GIF89a", 6)) return Format::gif;
    if (starts(b, "BM", 2)) return Format::bmp;
    if (starts(b, "II*\0", 4) || starts(b, "MM\0*", 4)) return Format::tiff;
    if (starts(b, "II+\0", 4) || starts(b, "MM\0+", 4)) return Format::tiff;  // BigTIFF
    return Format::unknown;
}

bool decoded_here(Format format) {
    return format == Format::jpeg || format == Format::png || format == Format::webp;
}

const char* format_name(Format format) {
    switch (format) {
        case Format::jpeg:
            return "jpeg";
        case Format::png:
            return "png";
        case Format::webp:
            return "webp";
        case Format::avif:
            return "avif";
        case Format::gif:
            return "gif";
        case Format::bmp:
            return "bmp";
        case Format::tiff:
            return "tiff";
        case Format::unknown:
            break;
    }
    return "unknown";
}

ImageInfo inspect(ByteView bytes, const Limits& limits) {
    ImageInfo info;
    if (bytes.size == 0) throw DecodeError("the file is empty");
    if (static_cast<std::int64_t>(bytes.size) > limits.max_bytes)
        throw DecodeError("the file has " + std::to_string(bytes.size) + " bytes, more than the limit of " +
                          std::to_string(limits.max_bytes));
    info.format = sniff(bytes);
    if (info.format == Format::unknown) throw DecodeError(what_it_is(bytes));
    if (info.format == Format::jpeg) inspect_jpeg(bytes, info);
    if (info.format == Format::png) inspect_png(bytes, info);
    if (info.format == Format::webp) inspect_webp(bytes, info);
    if (std::int64_t{info.width} * info.height > limits.max_pixels)
        throw DecodeError("the image has " + std::to_string(info.width) + "x" + std::to_string(info.height) +
                          " pixels, more than the limit of " + std::to_string(limits.max_pixels));
    return info;
}

}  // namespace gs
