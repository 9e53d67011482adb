// Resizing as Pillow does it, to the bit: a filter with antialiasing in two passes, first across, then down,
// with 8-bit values in between and coefficients in fixed point.
//
// Source of the rule: Pillow's documentation of Image.resize (filters, reducing support) and its two-pass
// fixed-point method: an output pixel's centre lies at box.start + (i + 0.5) * scale; the filter is widened
// by the scale when that is above 1; weights are summed to 1 in double precision, then rounded to 22
// fractional bits; the sum starts at one half and is cut to 0..255.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/buffer.hpp"
#include "base/types.hpp"

namespace gs {

enum class Filter : std::uint8_t { bilinear, bicubic, box, hamming, lanczos };

constexpr int kWeightBits = 32 - 8 - 2;  // of fraction: 8 for the value, 2 for what the negative lobes add

// The source pixels first .. first + count - 1 that outputs out_first .. out_first + out_count - 1 depend on.
struct SourceSpan {
    int first, count;
};
SourceSpan source_span(Filter filter, int in_size, float begin, float end, int out_size, int out_first,
                       int out_count);

// One direction of a resize: which source pixels make which output pixels, with which weights.
class Axis {
  public:
    // Plans outputs out_first .. out_first + out_count - 1 of the `out_size` that the stretch begin..end of
    // `in_size` pixels is resized to. Needs 0 <= begin < end <= in_size and positive sizes. The weights
    // live in `memory`.
    void plan(Filter filter, int in_size, float begin, float end, int out_size, int out_first, int out_count,
              Buffer& memory);

    int source_first() const { return source_first_; }  // the source pixels that are needed
    int source_count() const { return source_count_; }
    int outputs() const { return outputs_; }
    bool identity() const { return identity_; }  // every output is a source pixel: the pass may be left out

    // Weights are in groups of four, the last group filled up with zeros: for the plain path as int32, for
    // the vector path split into value = high * 2^15 + low, as (low, low, low, low, high, high, high, high).
    struct Split {
        std::int16_t low[4], high[4];
    };
    // For AVX-512's products of bytes: value = high * 2^16 + middle * 2^8 + low.
    struct Digits {
        std::int8_t low[4], middle[4], high[4];
    };
    struct Output {
        const std::int32_t* weights;
        const Split* split;
        const Digits* digits;  // nullptr where the processor has no use for them
        int first;             // source pixel, counted from source_first()
        int count;
        int groups;
    };
    Output output(int i) const {
        const Span& span = spans_[i];
        const std::ptrdiff_t at = std::ptrdiff_t{i} * groups_;
        const Digits* digits = digits_ ? digits_ + at : nullptr;
        return {weights_ + 4 * at, splits_ + at, digits, span.first, span.count, (span.count + 3) / 4};
    }

  private:
    struct Span {
        int first, count;
    };
    int source_first_ = 0, source_count_ = 0, outputs_ = 0, groups_ = 0;
    bool identity_ = false;
    const Span* spans_ = nullptr;
    const std::int32_t* weights_ = nullptr;
    const Split* splits_ = nullptr;
    const Digits* digits_ = nullptr;
};

// Which pass comes first matters to the last bit, and beyond it where the bicubic filter overshoots and the
// value in between is clipped. Pillow went across first up to version 12; since 13 it goes down first when
// the height loses more than twice the pixels that the width loses, by the sizes of the whole image and of
// the result (found by comparing results; the box plays no part). This follows the newer rule.
inline bool down_first(int in_width, int in_height, int out_width, int out_height) {
    return out_height < in_height &&
           std::int64_t{in_height} - out_height > 2 * (std::int64_t{in_width} - out_width);
}

// Filters one row across: `rgb` holds axis.source_count() pixels, `to` receives axis.outputs().
void resample_across(const Axis& axis, const std::uint8_t* rgb, std::uint8_t* to);

// Filters `bytes` columns down: row r of the source begins at rgb + r * stride_bytes. Both `to` and the
// source's rows must have room up to the next multiple of 32 bytes.
void resample_down(const Axis::Output& output, const std::uint8_t* rgb, std::ptrdiff_t stride_bytes,
                   int bytes, std::uint8_t* to);

// Bytes from one row of `width` RGB pixels to the next, for resample_down.
inline std::size_t padded_row_bytes(int width) {
    return (std::size_t{3} * static_cast<std::size_t>(width) + 31) / 32 * 32;
}

// Takes the rows of a decoder and keeps them filtered across.
class AcrossSink : public RowSink {
  public:
    AcrossSink(const Axis& axis, std::uint8_t* to)
        : axis_(axis), to_(to), row_bytes_(padded_row_bytes(axis.outputs())) {}
    void rows(int first, int count, const std::uint8_t* rgb, std::ptrdiff_t stride_bytes) noexcept override {
        for (int i = 0; i < count; i++)
            resample_across(axis_, rgb + i * stride_bytes,
                            to_ + row_bytes_ * static_cast<std::size_t>(first + i));
        if (first + count > delivered_) delivered_ = first + count;
    }
    int delivered() const { return delivered_; }

  private:
    const Axis& axis_;
    std::uint8_t* to_;
    std::size_t row_bytes_;
    int delivered_ = 0;
};

}  // namespace gs
