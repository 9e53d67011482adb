// The header that a tar has before each file in it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace gs {

constexpr std::size_t kTarHeader = 512;

// Throws ReadError, which calls the tar `path`, unless the kTarHeader bytes at `header` are of a file of `size`
// bytes whose name begins with `name` (of which a header holds 100 bytes).
void check_tar_header(const std::uint8_t* header, const std::string& name, std::int64_t size,
                      const std::string& path);

}  // namespace gs
