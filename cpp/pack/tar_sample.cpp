#include "pack/tar_sample.hpp"

#include <cstdio>
#include <cstring>
#include <stdexcept>

namespace gs::pack {
namespace {

// A header's fields other than name, size and checksum; POSIX.1-1988.
struct Constant {
    std::uint8_t bytes[kTarBlock] = {};
    unsigned sum = 8 * ' ';  // the checksum counts its own field as spaces
    Constant() {
        std::memcpy(bytes + 100, "0000644", 8);
        std::memcpy(bytes + 108, "0000000", 8);
        std::memcpy(bytes + 116, "0000000", 8);
        std::memcpy(bytes + 136, "00000000000", 12);
        std::memcpy(bytes + 155, " 0", 2);
        std::memcpy(bytes + 257,
                    "ustar\0"
                    "00",
                    8);
        std::memcpy(bytes + 329, "0000000", 8);
        std::memcpy(bytes + 337, "0000000", 8);
        for (std::size_t i = 0; i < kTarBlock; i++)
            if (i != 155) sum += bytes[i];
    }
};

}  // namespace

void write_header(std::uint8_t* to, std::string_view name, std::uint64_t size) {
    static const Constant constant;
    if (name.size() > kLongestName || size >= kTarTooLarge)
        throw std::invalid_argument("a member of " + std::to_string(size) + " bytes with a name of " +
                                    std::to_string(name.size()) +
                                    " needs a PAX header: " + std::string(name));
    std::memcpy(to, constant.bytes, kTarBlock);
    std::memcpy(to, name.data(), name.size());
    char digits[32];
    std::snprintf(digits, sizeof digits, "%011llo", static_cast<unsigned long long>(size));
    std::memcpy(to + 124, digits, 12);
    unsigned sum = constant.sum;
    for (const char c : name) sum += static_cast<std::uint8_t>(c);
    for (int i = 0; i < 11; i++) sum += static_cast<std::uint8_t>(digits[i]);
    std::snprintf(digits, sizeof digits, "%06o", sum);
    std::memcpy(to + 148, digits, 7);
}

const char* suffix_of(Format format) {
    return format == Format::jpeg ? "jpg" : format_name(format);
}

std::string hexadecimal(const std::uint8_t* digest) {
    static const char digits[] = "0123456789abcdef";
    std::string text(64, ' ');
    for (std::size_t i = 0; i < 32; i++) {
        text[2 * i] = digits[digest[i] >> 4];
        text[2 * i + 1] = digits[digest[i] & 15];
    }
    return text;
}

std::string facts_json(std::string_view head, const ImageInfo& info, std::size_t size,
                       const std::uint8_t* digest) {
    std::string text(head);
    text += ",\"format\":\"";
    text += format_name(info.format);
    text += "\",\"mode\":\"";
    text += info.mode;
    text += "\",\"width\":" + std::to_string(info.width) + ",\"height\":" + std::to_string(info.height);
    text += ",\"jpeg_quality\":" + (info.jpeg_quality > 0 ? std::to_string(info.jpeg_quality) : "null");
    text += info.progressive ? ",\"progressive\":true" : ",\"progressive\":false";
    text += ",\"size\":" + std::to_string(size) + ",\"sha256\":\"" + hexadecimal(digest) + "\"}";
    return text;
}

}  // namespace gs::pack
