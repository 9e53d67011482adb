// The row filters of PNG in the forward direction, and the choice among them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "png/png_unfilter.hpp"
#include "recode/png_filter_x86.hpp"

namespace gs::png {

// Filters one row of `size` bytes. `above` is the row above it; `distance` as in unfilter_rows.
void filter_row(Filter filter, const std::uint8_t* row, const std::uint8_t* above, std::size_t size,
                std::size_t distance, std::uint8_t* out);

// The inverse, with all bytes of every pixel: the plain way, for formats that png_unfilter.hpp does not keep
// whole (alpha, 16 bits).
void restore_row(Filter filter, const std::uint8_t* row, const std::uint8_t* above, std::size_t size,
                 std::size_t distance, std::uint8_t* out);

// Chooses filters by what their bytes would cost in bits, going by the statistics of the rows before. All in
// integers, so that the choice is the same on every machine.
class FilterChooser {
  public:
    FilterChooser();

    // Filters a row with the cheapest filter into out[0 .. size], the filter byte first. `above` is nullptr
    // where the filters must not look upwards. `effort` 0: Paeth (Sub without a row above), unseen; 1: the
    // best by a sample of the row; 2: the best.
    void filter(const std::uint8_t* row, const std::uint8_t* above, std::size_t size, std::size_t distance,
                int effort, std::uint8_t* out, std::uint8_t* scratch);

    // To be called with the counts of the filtered bytes of the rows since the last call.
    void learn(const std::uint32_t counts[256]);

  private:
    // What the bytes cost; any number that is not below `most` when that is reached on the way.
    std::uint64_t cost(const std::uint8_t* bytes, std::size_t size, std::uint64_t most) const;
    Filter cheapest(const FilterKernels& fast, const std::uint8_t* row, const std::uint8_t* above,
                    std::size_t size, std::size_t distance) const;
    Filter cheapest_by_sample(const std::uint8_t* row, const std::uint8_t* above, std::size_t size,
                              std::size_t distance, std::uint8_t* scratch) const;
    void update_costs();

    std::uint32_t history_[256];
    std::uint16_t cost_[256];            // in 1/16 bit
    std::uint8_t low_[256], high_[256];  // its bytes
};

}  // namespace gs::png
