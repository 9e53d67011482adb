#include "png/png_container.hpp"

#include <libdeflate.h>

#include <cstring>
#include <string>

#include "base/big_endian.hpp"

namespace gs::png {
namespace {

constexpr std::size_t kSignature = 8;
constexpr std::size_t kChunkOverhead = 12;  // length, type, checksum
constexpr std::uint32_t kMaxLength = 0x7fffffff;
constexpr std::uint32_t kMaxSide = 1 << 28;  // keeps a row's arithmetic within its types

constexpr std::uint32_t type_code(const char (&name)[5]) {
    return static_cast<std::uint32_t>(name[0]) << 24 | static_cast<std::uint32_t>(name[1]) << 16 |
           static_cast<std::uint32_t>(name[2]) << 8 | static_cast<std::uint32_t>(name[3]);
}

constexpr std::uint32_t kIhdr = type_code("IHDR"), kPlte = type_code("PLTE"), kIdat = type_code("IDAT"),
                        kIend = type_code("IEND");

struct Chunk {
    std::uint32_t type = 0;
    const std::uint8_t* data = nullptr;
    std::size_t size = 0;      // of the data that is there
    bool truncated = false;    // the file ends within the chunk
    const std::uint8_t* next;  // of the chunk that follows
};

bool is_letters(std::uint32_t type) {
    for (int shift = 0; shift < 32; shift += 8) {
        const unsigned lower = (type >> shift & 0xff) | 0x20;
        if (lower < 'a' || lower > 'z') return false;
    }
    return true;
}

bool is_critical(std::uint32_t type) {
    return (type >> 24 & 0x20) == 0;
}

std::string type_name(std::uint32_t type) {
    std::string name;
    for (int shift = 24; shift >= 0; shift -= 8) name += static_cast<char>(type >> shift & 0xff);
    return name;
}

bool checksum_is_right(const Chunk& chunk) {
    return libdeflate_crc32(0, chunk.data - 4, chunk.size + 4) == big32(chunk.data + chunk.size);
}

// The chunk at `at`; the 8 bytes of its length and type must be there.
Chunk chunk_at(const std::uint8_t* at, const std::uint8_t* end) {
    Chunk chunk;
    const std::uint32_t length = big32(at);
    const std::size_t left = static_cast<std::size_t>(end - at) - 8;
    chunk.type = big32(at + 4);
    chunk.data = at + 8;
    chunk.size = length;
    if (length > left || left - length < 4) {
        chunk.truncated = true;
        chunk.size = length < left ? length : left;
        chunk.next = end;
    } else {
        chunk.next = chunk.data + length + 4;
    }
    return chunk;
}

void read_palette(const Chunk& chunk, Palette& palette) {
    palette.present = true;
    std::memcpy(palette.rgb, chunk.data, chunk.size);
}

}  // namespace

Header read_header(ByteView bytes) {
    if (bytes.size < kSignature + kChunkOverhead + 13)
        throw DecodeError("truncated PNG: it ends within the header");
    const std::uint8_t* at = bytes.data + kSignature;
    if (big32(at + 4) != kIhdr || big32(at) != 13)
        throw DecodeError("damaged PNG: it does not begin with a header chunk");
    const Chunk chunk = chunk_at(at, bytes.data + bytes.size);
    if (!checksum_is_right(chunk)) throw DecodeError("damaged PNG: wrong checksum of chunk IHDR");
    const std::uint32_t width = big32(chunk.data), height = big32(chunk.data + 4);
    if (width == 0 || height == 0 || width > kMaxLength || height > kMaxLength)
        throw DecodeError("damaged PNG: impossible width or height");
    if (width > kMaxSide || height > kMaxSide)
        throw DecodeError("PNG of " + std::to_string(width) + "x" + std::to_string(height) +
                          " pixels: more than 2^28 on a side");
    const int depth = chunk.data[8];
    const std::uint8_t color = chunk.data[9];
    unsigned depths = 0;  // bit i: 1 << i bits are allowed
    if (color == 0) depths = 0b11111;
    if (color == 2 || color == 4 || color == 6) depths = 0b11000;
    if (color == 3) depths = 0b01111;
    if (depths == 0) throw DecodeError("damaged PNG: unknown colour type " + std::to_string(color));
    bool allowed = false;
    for (int i = 0; i < 5; i++) allowed |= (depths >> i & 1) != 0 && depth == 1 << i;
    if (!allowed)
        throw DecodeError("damaged PNG: colour type " + std::to_string(color) + " with bit depth " +
                          std::to_string(depth));
    if (chunk.data[10] != 0 || chunk.data[11] != 0)
        throw DecodeError("damaged PNG: unknown compression or filter method");
    if (chunk.data[12] > 1) throw DecodeError("damaged PNG: unknown interlace method");
    Header header;
    header.width = static_cast<int>(width);
    header.height = static_cast<int>(height);
    header.bit_depth = depth;
    header.color = static_cast<Color>(color);
    header.interlaced = chunk.data[12] == 1;
    return header;
}

ByteView read_chunks(ByteView bytes, const Header& header, bool strict, Palette& palette, Buffer& joined) {
    palette = Palette{};
    const std::uint8_t* const end = bytes.data + bytes.size;
    const std::uint8_t* at = bytes.data + kSignature + kChunkOverhead + 13;
    ByteView image;               // what has been found of the image data
    std::size_t joined_size = 0;  // > 0: it is in `joined`
    enum class Place { before_data, in_data, after_data } place = Place::before_data;

    // Damage ends the walk when strictness does not make it an error.
    const auto damaged = [strict](const std::string& what) {
        if (strict) throw DecodeError(what);
    };
    while (true) {
        if (end - at < 8) {
            damaged("truncated PNG: it ends without an IEND chunk");
            break;
        }
        const Chunk chunk = chunk_at(at, end);
        if (big32(at) > kMaxLength || !is_letters(chunk.type)) {
            damaged("damaged PNG: bytes that are not a chunk at offset " + std::to_string(at - bytes.data));
            break;
        }
        at = chunk.next;
        if (place == Place::in_data && chunk.type != kIdat) place = Place::after_data;
        if (!is_critical(chunk.type)) {
            if (chunk.truncated) damaged("truncated PNG: it ends within a chunk");
            continue;
        }
        if (chunk.truncated)
            damaged("truncated PNG: it ends within chunk " + type_name(chunk.type));
        else if (!checksum_is_right(chunk))
            damaged("damaged PNG: wrong checksum of chunk " + type_name(chunk.type));
        if (chunk.type == kIend) break;
        if (chunk.type == kIdat) {
            if (place == Place::after_data) {
                damaged("damaged PNG: the image data is not in one piece");
                break;
            }
            if (header.color == Color::palette && !palette.present)
                throw DecodeError("damaged PNG: palette image without a palette");
            place = Place::in_data;
            if (chunk.size == 0) continue;
            if (image.size == 0) {
                image = {chunk.data, chunk.size};
                continue;
            }
            std::uint8_t* to = joined.reserve(bytes.size);  // an upper bound of all image data
            if (joined_size == 0) {
                std::memcpy(to, image.data, image.size);
                joined_size = image.size;
            }
            std::memcpy(to + joined_size, chunk.data, chunk.size);
            joined_size += chunk.size;
            image = {to, joined_size};
        } else if (chunk.type == kPlte) {
            const bool used = header.color == Color::palette;
            if (place != Place::before_data || palette.present) {
                damaged("damaged PNG: a palette that is out of place");
            } else if (chunk.size == 0 || chunk.size > 768 || chunk.size % 3 != 0 || chunk.truncated) {
                if (used) throw DecodeError("damaged PNG: impossible size of the palette");
            } else {
                read_palette(chunk, palette);
            }
        } else {
            damaged(chunk.type == kIhdr ? "damaged PNG: a second header"
                                        : "damaged PNG: unknown critical chunk " + type_name(chunk.type));
        }
    }
    if (image.size == 0) throw DecodeError("damaged PNG: no image data");
    return image;
}

}  // namespace gs::png
