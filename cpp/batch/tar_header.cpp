#include "batch/tar_header.hpp"

#include <algorithm>
#include <cstring>

#include "batch/reader.hpp"

namespace gs {
namespace {

// The fields of POSIX.1-1988 that are looked at.
constexpr std::size_t kNameBytes = 100, kSizeAt = 124, kSizeBytes = 12, kMagicAt = 257;

// -1: not a number. Other writers put spaces before it or behind it.
std::int64_t octal(const std::uint8_t* field) {
    std::size_t at = 0;
    while (at < kSizeBytes && field[at] == ' ') at++;
    std::int64_t value = 0;
    const std::size_t first = at;
    for (; at < kSizeBytes && field[at] >= '0' && field[at] <= '7'; at++)
        value = value * 8 + (field[at] - '0');
    if (at == first) return -1;
    for (; at < kSizeBytes; at++)
        if (field[at] != ' ' && field[at] != 0) return -1;
    return value;
}

}  // namespace

void check_tar_header(const std::uint8_t* header, const std::string& name, std::int64_t size,
                      const std::string& path) {
    const bool is_header = std::memcmp(header + kMagicAt, "ustar", 5) == 0;
    if (is_header && std::memcmp(header, name.data(), std::min(name.size(), kNameBytes)) == 0 &&
        octal(header + kSizeAt) == size)
        return;
    std::string found = "no file of a tar";
    if (is_header) {
        const auto* text = reinterpret_cast<const char*>(header);
        std::string named(text, strnlen(text, kNameBytes));
        for (char& c : named)
            if (c < ' ' || c > '~') c = '?';
        found = named + ", " + std::to_string(octal(header + kSizeAt)) + " bytes,";
    }
    throw ReadError(
        path + " holds " + found +
        " there instead: it is not the shard that the index describes, so copy both again from one "
        "place, or pack again");
}

}  // namespace gs
