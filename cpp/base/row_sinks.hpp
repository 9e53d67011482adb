// Where decoded rows go when they are kept as they are, or not at all.
#pragma once

#include <algorithm>
#include <cstring>

#include "base/types.hpp"

namespace gs {

// For decodes that only check.
class NoRows : public RowSink {
  public:
    void rows(int, int, const std::uint8_t*, std::ptrdiff_t) noexcept override {}
};

// Copies rows of `width` pixels to memory; row y begins at to + y * stride_bytes (default: no gaps).
class CopyRows : public RowSink {
  public:
    CopyRows(std::uint8_t* to, int width, std::size_t stride_bytes = 0)
        : to_(to),
          row_bytes_(std::size_t{3} * static_cast<std::size_t>(width)),
          stride_(stride_bytes == 0 ? row_bytes_ : stride_bytes) {}
    void rows(int first, int count, const std::uint8_t* rgb, std::ptrdiff_t stride) noexcept override {
        for (int i = 0; i < count; i++)
            std::memcpy(to_ + stride_ * static_cast<std::size_t>(first + i), rgb + i * stride, row_bytes_);
        delivered_ = std::max(delivered_, first + count);
    }
    // One past the last row that came.
    int delivered() const { return delivered_; }

  private:
    std::uint8_t* to_;
    std::size_t row_bytes_;
    std::size_t stride_;
    int delivered_ = 0;
};

}  // namespace gs
