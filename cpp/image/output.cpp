#include "image/output.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/cpu.hpp"
#include "image/output_simd.hpp"

namespace gs {

std::size_t element_bytes(Element element) {
    return element == Element::u8 ? 1 : element == Element::f16 ? 2 : 4;
}

std::uint16_t to_half(float value) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, 4);
    const std::uint32_t sign = bits >> 16 & 0x8000;
    const std::uint32_t magnitude = bits & 0x7FFFFFFF;
    if (magnitude > 0x7F800000) return static_cast<std::uint16_t>(sign | 0x7E00 | (magnitude >> 13 & 0x3FF));
    if (magnitude >= 0x47800000) return static_cast<std::uint16_t>(sign | 0x7C00);  // 65536 and above
    std::uint32_t mantissa = magnitude;
    int shift = 13;
    if (magnitude < 0x38800000) {  // below 2^-14: a subnormal half, the leading one becomes explicit
        const int exponent = static_cast<int>(magnitude >> 23);
        shift = 126 - exponent;
        if (shift > 24 + 1) return static_cast<std::uint16_t>(sign);
        mantissa = (magnitude & 0x7FFFFF) | 0x800000;
    } else {
        mantissa -= 0x38000000;  // exponent bias 127 to 15
    }
    const std::uint32_t rest = mantissa & ((1U << shift) - 1);
    const std::uint32_t tie = 1U << (shift - 1);
    std::uint32_t half = mantissa >> shift;
    if (rest > tie || (rest == tie && (half & 1))) half++;  // a carry into the exponent is right as it is
    return static_cast<std::uint16_t>(sign | half);
}

Normalizer::Normalizer(const double* mean, const double* std) {
    for (int c = 0; c < 3; c++) {
        const double m = mean ? mean[c] : 0.0, s = std ? std[c] : 1.0;
        scale[c] = 1.0 / (255.0 * s);
        bias[c] = -m / s;
        for (int p = 0; p < 256; p++) {
            table[c][p] = static_cast<float>((p / 255.0 - m) / s);
            half[c][p] = to_half(table[c][p]);
            const float fast = static_cast<float>(std::fma(static_cast<double>(p), scale[c], bias[c]));
            if (std::memcmp(&fast, &table[c][p], sizeof fast) != 0) affine = false;
        }
    }
}

namespace {

template <bool kFlip>
void store_u8(const std::uint8_t* rgb, int width, const Normalizer&, std::uint8_t* const planes[3]) {
    for (int x = 0; x < width; x++) {
        const int to = kFlip ? width - 1 - x : x;
        for (int c = 0; c < 3; c++) planes[c][to] = rgb[3 * x + c];
    }
}

template <bool kFlip>
void store_f16(const std::uint8_t* rgb, int width, const Normalizer& n, std::uint8_t* const planes[3]) {
    for (int c = 0; c < 3; c++) {
        auto* plane = reinterpret_cast<std::uint16_t*>(planes[c]);
        for (int x = 0; x < width; x++) plane[kFlip ? width - 1 - x : x] = n.half[c][rgb[3 * x + c]];
    }
}

template <bool kFlip>
void store_f32(const std::uint8_t* rgb, int width, const Normalizer& n, std::uint8_t* const planes[3]) {
    for (int c = 0; c < 3; c++) {
        auto* plane = reinterpret_cast<float*>(planes[c]);
        for (int x = 0; x < width; x++) plane[kFlip ? width - 1 - x : x] = n.table[c][rgb[3 * x + c]];
    }
}

}  // namespace

StoreRow choose_store(Element element, bool flip, int width, const Normalizer& normalizer) {
    const Simd level = simd_level();
    if (StoreRow fast = choose_simd_store(element, flip, width, level, normalizer.affine)) return fast;
    switch (element) {
        case Element::u8:
            return flip ? store_u8<true> : store_u8<false>;
        case Element::f16:
            return flip ? store_f16<true> : store_f16<false>;
        case Element::f32:
            break;
    }
    return flip ? store_f32<true> : store_f32<false>;
}

PlanarSink::PlanarSink(std::uint8_t* image, Element element, int width, int height, bool flip,
                       const Normalizer& normalizer)
    : image_(image),
      row_bytes_(element_bytes(element) * static_cast<std::size_t>(width)),
      plane_bytes_(row_bytes_ * static_cast<std::size_t>(height)),
      width_(width),
      store_(choose_store(element, flip, width, normalizer)),
      normalizer_(normalizer) {}

void PlanarSink::rows(int first, int count, const std::uint8_t* rgb, std::ptrdiff_t stride_bytes) noexcept {
    for (int i = 0; i < count; i++) {
        std::uint8_t* row = image_ + row_bytes_ * static_cast<std::size_t>(first + i);
        std::uint8_t* const planes[3] = {row, row + plane_bytes_, row + 2 * plane_bytes_};
        store_(rgb + i * stride_bytes, width_, normalizer_, planes);
    }
    delivered_ = std::max(delivered_, first + count);
}

}  // namespace gs
