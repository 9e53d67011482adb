// Filtering rows across by AVX-512: sixteen values of four rows at a time, four taps a step.
#pragma once

#include <cstdint>

#include "rows/resample.hpp"

namespace gs {

constexpr int kRowsAcross = 4;  // that are filtered together

class WideAcross {
  public:
    // False where the processor has no AVX-512, or the axis shrinks too much. Rows may be read `slack` bytes beyond
    // their end, at least 64. The plan lives in `memory`.
    bool plan(const Axis& axis, int slack, Buffer& memory);

    // Writes up to 15 bytes beyond the rows' ends.
    void run(const std::uint8_t* const rows[kRowsAcross], std::uint8_t* const to[kRowsAcross]) const;

    // Sixteen values of a row. The bytes of their taps lie in 64 or 128 bytes, of which a shuffle takes them.
    struct Block {
        std::int32_t at;     // where those bytes begin; those of a step are twelve bytes further
        std::int32_t steps;  // of four taps
        std::int32_t first_step;
        std::uint8_t order[64];
        std::uint64_t far;  // which of the second 64 bytes are needed
    };
    // Digits of the weights, four for each value.
    struct Step {
        std::int8_t low[64], middle[64], high[64];
    };

  private:
    const Block* blocks_ = nullptr;
    const Step* steps_ = nullptr;
    int count_ = 0;
    bool far_ = false;  // whether any block needs the second 64 bytes
};

}  // namespace gs
