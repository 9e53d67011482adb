// Undoes the row filters of PNG (None, Sub, Up, Average, Paeth), in place.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gs::png {

enum Filter : std::uint8_t { kNone = 0, kSub = 1, kUp = 2, kAverage = 3, kPaeth = 4 };

// Bytes around the rows that may be read, and after the last row written.
constexpr std::size_t kUnfilterSlack = 64;

// `count` rows that stand `stride` bytes apart, each a filter byte (0..4) and its data, of which the first
// `size_bytes` become the picture's; what follows them in a row is left undefined. `above` is the data of the
// row above the first, unfiltered. `distance` is the filter distance: 1, 2, 3, 4, 6 or 8.
void unfilter_rows(std::uint8_t* rows, std::size_t stride, int count, const std::uint8_t* above,
                   std::size_t size_bytes, int distance);

}  // namespace gs::png
