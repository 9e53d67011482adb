// Several rows across at once, for steps: the weights are loaded once for four rows.
#pragma once

#include "rows/across_avx512.hpp"
#include "rows/resample.hpp"
#include "transform/step.hpp"

namespace gs::transform {

// resample_across for many rows by one axis.
class RowsAcross {
  public:
    // `axis` is kept. The plan lives in `memory`.
    void plan(const Axis& axis, Buffer& memory);

    // `count` rows. They may be read and written kRowSlack bytes beyond their end.
    void run(const std::uint8_t* rgb, std::ptrdiff_t stride, int count, const Canvas& out) const;

    // Eight values of a row, as vectors compute them: two lanes of four, which have bytes of two pixels at most.
    struct Block {
        std::int32_t at[2];  // where the taps of each lane begin; those of a step are six bytes further
        std::int32_t steps;  // of two taps
        std::int32_t first_step;
        std::uint8_t order[32];
    };
    struct Step {
        std::int16_t low[16], high[16];  // parts of the weights, as in Axis::Split, two for each value
    };

  private:
    const Axis* axis_ = nullptr;
    WideAcross wide_;
    bool is_wide_ = false;
    Block* blocks_ = nullptr;
    Step* steps_ = nullptr;
    int count_ = 0;  // of blocks; 0 where vectors cannot be used
};

}  // namespace gs::transform
