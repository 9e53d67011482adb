// The plain form of the JPEG kernels: what the vector forms are tested against, and what
// other processors run.
#include <algorithm>
#include <cstring>

#include "jpeg/jpeg_progressive_loops.hpp"

namespace gs::jpeg {
namespace {

bool decode(Scan& scan, int mcus, const SamplePlane* planes) {
    bool sound = true;
    const bool read = decode_loop(scan, mcus, planes,
                                  [&](std::int16_t* pair, const std::int16_t* quant, int extent,
                                      std::uint8_t* a, std::uint8_t* b, std::ptrdiff_t stride) {
                                      if (!idct_pair_plain(pair, quant, extent, a, b, stride)) sound = false;
                                  });
    return read && sound;
}

struct PlainBits {
    static std::uint64_t nonzero(const std::int16_t* block) {
        std::uint64_t mask = 0;
        for (int k = 0; k < 64; k++) mask |= std::uint64_t{block[k] != 0} << k;
        return mask;
    }
    static std::uint32_t nth(std::uint64_t mask, std::uint32_t n) {
        for (; n > 0; n--) mask &= mask - 1;
        return mask == 0 ? 64 : static_cast<std::uint32_t>(__builtin_ctzll(mask));
    }
};

bool scan(Scan& scan, const ProgressiveScan& progressive) {
    return progressive_loop<PlainBits>(scan, progressive);
}

bool render(Scan& scan, const CoefficientPlane* coefficients, int row, int left, int mcus,
            const SamplePlane* planes) {
    bool sound = true;
    render_loop<PlainBits>(scan, coefficients, row, left, mcus, planes,
                           [&](std::int16_t* pair, const std::int16_t* quant, int extent, std::uint8_t* a,
                               std::uint8_t* b, std::ptrdiff_t stride) {
                               if (!idct_pair_plain(pair, quant, extent, a, b, stride)) sound = false;
                           });
    return sound;
}

bool skip(Scan& scan, std::int64_t mcus) {
    return skip_loop(scan, mcus);
}

// The triangle filters of libjpeg (jdsample.c): three quarters of the nearer sample, one quarter of the
// farther one, with rounding that alternates so that no bias remains. At the ends, where libjpeg has cases of
// their own, the neighbour that repeats the last sample gives the same.
void upsample_h2(const std::uint8_t* in, int count, std::uint8_t* out) {
    for (int i = 0; i < count; i++) {
        out[2 * i] = static_cast<std::uint8_t>((3 * in[i] + in[i - 1] + 1) >> 2);
        out[2 * i + 1] = static_cast<std::uint8_t>((3 * in[i] + in[i + 1] + 2) >> 2);
    }
}

void upsample_h2v2(const std::uint8_t* near, const std::uint8_t* far, int count, std::uint8_t* out) {
    const auto sum = [&](int i) { return 3 * near[i] + far[i]; };
    for (int i = 0; i < count; i++) {
        out[2 * i] = static_cast<std::uint8_t>((3 * sum(i) + sum(i - 1) + 8) >> 4);
        out[2 * i + 1] = static_cast<std::uint8_t>((3 * sum(i) + sum(i + 1) + 7) >> 4);
    }
}

void upsample_v2(const std::uint8_t* near, const std::uint8_t* far, int count, int bias, std::uint8_t* out) {
    for (int i = 0; i < count; i++) out[i] = static_cast<std::uint8_t>((3 * near[i] + far[i] + bias) >> 2);
}

// libjpeg's fixed-point conversion (jdcolor.c): factors times 2^16, rounded once for each output.
void ycc_to_rgb(const std::uint8_t* y, const std::uint8_t* cb, const std::uint8_t* cr, int count,
                std::uint8_t* rgb) {
    const auto byte = [](int v) { return static_cast<std::uint8_t>(std::clamp(v, 0, 255)); };
    for (int i = 0; i < count; i++, rgb += 3) {
        const int b = cb[i] - 128, r = cr[i] - 128;
        rgb[0] = byte(y[i] + ((91881 * r + 32768) >> 16));
        rgb[1] = byte(y[i] + ((-22554 * b - 46802 * r + 32768) >> 16));
        rgb[2] = byte(y[i] + ((116130 * b + 32768) >> 16));
    }
}

void gray_to_rgb(const std::uint8_t* y, int count, std::uint8_t* rgb) {
    for (int i = 0; i < count; i++) std::memset(rgb + 3 * i, y[i], 3);
}

}  // namespace

const Kernels kPlainKernels = {"plain",     decode,        skip,        scan,       render,
                               upsample_h2, upsample_h2v2, upsample_v2, ycc_to_rgb, gray_to_rgb};

}  // namespace gs::jpeg
