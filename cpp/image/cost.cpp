#include "image/cost.hpp"

#include <algorithm>

#include "png/png_passes.hpp"

namespace gs {
namespace {

// Deflate makes at most 258 bytes of 2 bits (one code each for length and distance).
constexpr std::int64_t kMaxExpansion = 1032;
// A Buffer is a quarter larger than what was asked for.
std::int64_t buffer(std::int64_t bytes) {
    return bytes + bytes / 4 + 256;
}

// All samples' coefficients, two bytes each.
std::int64_t coefficient_bytes(const jpeg::Header& header) {
    std::int64_t blocks = 0;
    for (int i = 0; i < std::min(header.components, 4); i++)
        blocks += std::int64_t{header.component[i].h} * header.component[i].v;
    return blocks * header.mcus_per_row() * header.mcu_rows() * 128;
}

}  // namespace

std::int64_t rgb_bytes(const ImageInfo& info) {
    return buffer(std::int64_t{3} * info.width * info.height);
}

std::int64_t decoding_bytes(const ImageInfo& info, std::size_t encoded) {
    const auto file = static_cast<std::int64_t>(encoded);
    const std::int64_t data = 2 * buffer(file);  // the file's bytes and a copy of its compressed data
    const std::int64_t rows = std::int64_t{512} * info.width;
    if (info.format == Format::jpeg) {
        const jpeg::Header& header = info.jpeg;
        if (!header.is_progressive() && header.has_one_scan()) return data + rows;
        // Ours and, when that leaves the file to libjpeg half-way, libjpeg's.
        return data + rows + buffer(coefficient_bytes(header)) + coefficient_bytes(header);
    }
    if (info.format == Format::webp) {
        // The result in a buffer; libwebp's rows or, of a lossless image or of alpha, all its pixels and what they are
        // predicted from; the demuxer's lists of chunks of 8 bytes.
        const std::int64_t own = info.webp.is_plain_lossy ? 0 : std::int64_t{6} * info.width * info.height;
        return 4 * file + rows + rgb_bytes(info) + own;
    }
    if (info.format != Format::png) return 0;
    const auto total = static_cast<std::int64_t>(png::Passes(info.png).total_bytes());
    const std::int64_t raw = std::min(total, file * kMaxExpansion);
    // Rows are taken only when the data fills one, of an interlaced image the narrowest; the others are black.
    const bool fills_a_row = raw >= static_cast<std::int64_t>(info.png.row_bytes((info.width + 7) / 8));
    return data + buffer(raw) + (fills_a_row ? rows : 0) +
           (info.png.interlaced ? rgb_bytes(info) : std::int64_t{3} * info.width);
}

}  // namespace gs
