// Damage to a crop-ready PNG that no checksum gives away.
#pragma once

#include <libdeflate.h>

#include "base/big_endian.hpp"
#include "support.hpp"

namespace fuzz {

// Changes a few bytes of the table or of the bands, then puts every checksum right.
inline void forge(std::vector<std::uint8_t>& file, Parameters& p) {
    constexpr std::size_t kIhdr = 16, kIhdrBytes = 13;
    std::vector<std::size_t> idats;
    std::size_t table = 0;
    for (std::size_t at = 8; at + 12 <= file.size(); at += 12 + gs::big32(file.data() + at)) {
        if (std::memcmp(file.data() + at + 4, "IEND", 4) == 0)
            break;  // what trails a file need not be chunks
        if (std::memcmp(file.data() + at + 4, "IDAT", 4) == 0) idats.push_back(at);
        if (std::memcmp(file.data() + at + 4, "gsBD", 4) == 0) table = at;
    }
    FUZZ_CHECK(table != 0 && !idats.empty(), "no table or no image data");
    const auto seal = [&file](std::size_t at) {
        const std::size_t size = gs::big32(file.data() + at);
        const std::uint32_t crc = libdeflate_crc32(0, file.data() + at + 4, size + 4);
        gs::set32(file.data() + at + 8 + size, crc);
        return crc;
    };
    for (int n = p.between(1, 4); n > 0; n--) {
        const bool in_table = p.byte() % 2 == 0;
        const std::size_t at = in_table ? table : idats[static_cast<std::size_t>(p.word()) % idats.size()];
        const std::size_t size = gs::big32(file.data() + at);
        file[at + 8 + static_cast<std::size_t>(p.word()) % size] = static_cast<std::uint8_t>(p.byte());
    }
    std::uint8_t* const data = file.data() + table + 8;
    const std::size_t size = gs::big32(file.data() + table);
    for (std::size_t b = 0; b < idats.size() && 12 + 8 * b + 8 <= size; b++)
        gs::set32(data + 12 + 8 * b + 4, seal(idats[b]));
    const std::uint32_t ihdr = libdeflate_crc32(0, file.data() + kIhdr, kIhdrBytes);
    gs::set32(data + size - 4, libdeflate_crc32(ihdr, data, size - 4));
    seal(table);
}

}  // namespace fuzz
