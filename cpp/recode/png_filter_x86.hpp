// The vector forms of what png_filter.hpp does most; nullptr where the processor has none.
#pragma once

#include <cstddef>
#include <cstdint>

#include "png/png_unfilter.hpp"

namespace gs::png {

constexpr int kFilters = 5;

struct FilterKernels {
    // As filter_row, from byte `begin` on, which is `distance` or more; `above` is not nullptr.
    void (*filter)(Filter filter, const std::uint8_t* row, const std::uint8_t* above, std::size_t begin,
                   std::size_t size, std::size_t distance, std::uint8_t* out);
    // Adds to sums[f] what bytes `begin` to `size` of the row would cost with filter f: the 16-bit costs of
    // the byte values are low[v] + 256 * high[v]. nullptr: no faster than the plain way. Without `above` only
    // None and Sub are looked at.
    void (*costs)(const std::uint8_t* row, const std::uint8_t* above, std::size_t begin, std::size_t size,
                  std::size_t distance, const std::uint8_t* low, const std::uint8_t* high,
                  std::uint64_t sums[kFilters]);
};

// The plain form of FilterKernels::filter.
void filter_bytes(Filter filter, const std::uint8_t* row, const std::uint8_t* above, std::size_t begin,
                  std::size_t size, std::size_t distance, std::uint8_t* out);

// For this processor, or the lower level that was set for a test.
const FilterKernels* filter_kernels();

}  // namespace gs::png
