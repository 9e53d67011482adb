// The kernels behind unfilter_rows: the plain one, and those for vectors.
#pragma once

#include "png/png_unfilter.hpp"

namespace gs::png {

// One row by the book, byte after byte. `above` is the unfiltered row above.
void unfilter_row_plain(const Layout& layout, int filter, const std::uint8_t* row, int pixels,
                        const std::uint8_t* above, std::uint8_t* out);

#if defined(__x86_64__) || defined(__aarch64__)
#define GS_UNFILTER_VECTORS

// None, Sub or Up, with vectors of 128 bits: SSSE3's or NEON's.
void unfilter_row_128(const Layout& layout, int filter, const std::uint8_t* row, int pixels,
                      const std::uint8_t* above, std::uint8_t* out);

// Up to kRows rows of any filters at once: see png_unfilter_lanes.hpp.
constexpr int kRows128 = 4, kRowsAvx2 = 8;
void unfilter_wave_128(const Layout& layout, const std::uint8_t* rows, std::size_t stride, int count,
                       int pixels, std::uint8_t* out, std::size_t out_stride);
#endif

#if defined(__x86_64__)
void unfilter_wave_avx2(const Layout& layout, const std::uint8_t* rows, std::size_t stride, int count,
                        int pixels, std::uint8_t* out, std::size_t out_stride);
#endif

}  // namespace gs::png
