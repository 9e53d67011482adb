// Where the pixels of a batch end up: planar (3, h, w) uint8, float16 or float32, mirrored and normalised
// on the way.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/types.hpp"

namespace gs {

enum class Element : std::uint8_t { u8, f16, f32 };

std::size_t element_bytes(Element element);

// float32 to IEEE half, to nearest even, as NumPy, torch and F16C round it.
std::uint16_t to_half(float value);

// The value of a pixel is defined by a table: (pixel / 255 - mean[c]) / std[c] computed in double and rounded
// once to float32 (for float16 then once more to half). The vector path computes pixel * scale + bias in
// double with one rounding less, which can differ from the rule; so the constructor compares all 256 values
// of every channel, and `affine` says whether that path may be taken.
struct Normalizer {
    Normalizer() : Normalizer(nullptr, nullptr) {}
    Normalizer(const double* mean, const double* std);  // three values each; nullptr: 0 and 1

    float table[3][256];
    std::uint16_t half[3][256];
    double scale[3];
    double bias[3];
    bool affine = true;
};

// Writes `width` interleaved RGB pixels as one row of each of three planes. `planes[c]` is the
// row's first element.
using StoreRow = void (*)(const std::uint8_t* rgb, int width, const Normalizer& normalizer,
                          std::uint8_t* const planes[3]);

// The fastest way for rows of `width` pixels at the current SIMD level; all of them write the same bits.
StoreRow choose_store(Element element, bool flip, int width, const Normalizer& normalizer);

// Rows of RGB into one image of the output. Idempotent: rows may come again.
class PlanarSink : public RowSink {
  public:
    PlanarSink(std::uint8_t* image, Element element, int width, int height, bool flip,
               const Normalizer& normalizer);
    void rows(int first, int count, const std::uint8_t* rgb, std::ptrdiff_t stride_bytes) noexcept override;
    int delivered() const { return delivered_; }  // rows 0..delivered() - 1 have been written

  private:
    std::uint8_t* image_;
    std::size_t row_bytes_;
    std::size_t plane_bytes_;
    int width_;
    int delivered_ = 0;
    StoreRow store_;
    const Normalizer& normalizer_;
};

}  // namespace gs
