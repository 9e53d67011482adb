// The bytes of one sample in a tar, except for the image: the same as shard_tools/tar.py and shard.py write,
// which a test compares.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "image/inspect.hpp"

namespace gs::pack {

constexpr std::size_t kTarBlock = 512;
constexpr std::size_t kLongestName = 100;  // longer ones need a PAX header, which is not written here
constexpr std::uint64_t kTarTooLarge = std::uint64_t{1} << 33;  // 8 GiB: what 11 octal digits do not hold
constexpr std::size_t kClsBytes = 2 * kTarBlock;                // header and contents of <key>.cls

constexpr std::size_t padded(std::size_t size) {
    return (size + kTarBlock - 1) / kTarBlock * kTarBlock;
}

// A USTAR header of a plain file: owner 0, mode 0644, mtime 0. Throws std::invalid_argument for a name of
// more than kLongestName bytes and a size of kTarTooLarge or more.
void write_header(std::uint8_t* to, std::string_view name, std::uint64_t size);

// Suffix of the image member.
const char* suffix_of(Format format);

// Contents of <key>.json: `head` (what is known from the name, an open JSON object) and the facts of the
// image. The last thing in it are the 64 digits of the digest.
std::string facts_json(std::string_view head, const ImageInfo& info, std::size_t size,
                       const std::uint8_t* digest);

// 32 bytes in lower-case hexadecimal.
std::string hexadecimal(const std::uint8_t* digest);

}  // namespace gs::pack
