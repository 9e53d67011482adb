// A scan being decoded: where the decoder is in it, and what a group of MCUs consists of.
#pragma once

#include <cstddef>
#include <cstdint>

#include "jpeg/jpeg_entropy.hpp"
#include "jpeg/jpeg_header.hpp"
#include "jpeg/jpeg_huffman.hpp"
#include "jpeg/jpeg_idct.hpp"

namespace gs::jpeg {

struct ScanBlock {
    const HuffmanTable* dc = nullptr;
    const HuffmanTable* ac = nullptr;
    int component = 0;
    int pair = 0;
    int lane = 0;
};

// Where the samples of one lane of a pair go.
struct ScanTarget {
    int component = 0;
    int x = 0;  // from the group's left upper corner, in samples of the component
    int y = 0;
};

struct ScanPair {
    alignas(32) std::int16_t quant[128];
    ScanTarget target[2];
};

// The blocks of one MCU, or of two neighbours where that makes pairs that are alike (one MCU of 4:4:4
// has three blocks).
struct ScanGroup {
    int mcus = 1;
    int blocks_per_mcu = 1;
    int pairs = 1;
    ScanBlock block[12];
    ScanPair pair[6];
};

struct SamplePlane {
    std::uint8_t* at = nullptr;  // first sample of the first MCU to be decoded
    std::ptrdiff_t stride = 0;
    int step = 0;  // samples from one group to the next
};

struct Scan {
    EntropyData data;
    ScanGroup group;
    BitReader reader;
    std::size_t interval = 0;
    std::int64_t interval_mcus = 0;  // in every interval but the last
    std::int64_t left = 0;           // MCUs left in this interval
    std::int32_t predictor[3] = {};
    alignas(64) std::int16_t coefficients[6 * kPairEntries] = {};  // zero between groups

    void enter(std::size_t i) {
        interval = i;
        left = interval_mcus;
        const Interval& where = data.interval(i);
        reader = BitReader(data.bytes() + where.begin, where.size);
        predictor[0] = predictor[1] = predictor[2] = 0;
    }
};

struct CoefficientPlane;
struct ProgressiveScan;

// The inner loops for one instruction set. Rows may be read and written up to kRowSlack bytes
// behind their end.
constexpr int kRowSlack = 96;

struct Kernels {
    const char* name;
    // Decodes the next `mcus` MCUs into the planes; false when the data is left to libjpeg.
    bool (*decode)(Scan& scan, int mcus, const SamplePlane* planes);
    // Passes over the next `mcus` MCUs, keeping the DC predictions.
    bool (*skip)(Scan& scan, std::int64_t mcus);
    // Reads one scan of a progressive image into its coefficients; false as for `decode`.
    bool (*scan)(Scan& scan, const ProgressiveScan& progressive);
    // Transforms `mcus` MCUs of such an image from column `left` of row `row` on; false as for `decode`.
    bool (*render)(Scan& scan, const CoefficientPlane* coefficients, int row, int left, int mcus,
                   const SamplePlane* planes);
    // Twice the width by libjpeg's triangle filter; in[-1] and in[count] must be the neighbours.
    void (*upsample_h2)(const std::uint8_t* in, int count, std::uint8_t* out);
    // The same for a row between the nearer row `near` and the farther one `far`.
    void (*upsample_h2v2)(const std::uint8_t* near, const std::uint8_t* far, int count, std::uint8_t* out);
    // Height only; `bias` 1 for the upper row of two, 2 for the lower.
    void (*upsample_v2)(const std::uint8_t* near, const std::uint8_t* far, int count, int bias,
                        std::uint8_t* out);
    void (*ycc_to_rgb)(const std::uint8_t* y, const std::uint8_t* cb, const std::uint8_t* cr, int count,
                       std::uint8_t* rgb);
    void (*gray_to_rgb)(const std::uint8_t* y, int count, std::uint8_t* rgb);
};

extern const Kernels kPlainKernels;
// nullptr when the processor (or the compiler's target) has no AVX2. `pdep`: that instruction may be used, if
// the processor is not one on which it is slow.
const Kernels* avx2_kernels(bool pdep = true);
// nullptr on processors other than AArch64.
const Kernels* neon_kernels();
// The fastest at the present level of vector instructions; nullptr: the plain ones.
const Kernels* vector_kernels(bool pdep = true);

}  // namespace gs::jpeg
