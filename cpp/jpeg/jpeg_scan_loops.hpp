// The loops over MCUs, written once for every instruction set: included by the files of kernels, which inline
// them into functions compiled for that set.
#pragma once

// The function attribute that names the instruction set, where it is not the compiler's own.
#ifndef GS_LOOP_TARGET
#define GS_LOOP_TARGET
#endif
#define GS_LOOP_LAMBDA __attribute__((always_inline)) GS_LOOP_TARGET

#include <algorithm>

#include "jpeg/jpeg_scan.hpp"

namespace gs::jpeg {
namespace {  // each includer has its own

// `idct(pair, quant, extent, a, b, stride)` transforms a pair. Transforming the blocks of a group right after
// decoding them, and not a row of MCUs later, lets the processor run the transform, which has no branches,
// beside the decoding of the next group, which is a chain of dependent steps.
template <class Idct>
GS_LOOP_TARGET GS_INLINE bool decode_loop(Scan& s, int mcus, const SamplePlane* planes, Idct&& idct) {
    const ScanGroup& group = s.group;
    BitReader reader = s.reader;
    std::uint8_t* at[3] = {planes[0].at, planes[1].at, planes[2].at};
    for (int done = 0; done < mcus; done += group.mcus) {
        std::uint32_t extent[6] = {};
        const int here = std::min(group.mcus, mcus - done);
        for (int m = 0; m < here; m++) {
            if (GS_UNLIKELY(s.left == 0)) {
                if (!reader.at_end()) return false;
                s.enter(s.interval + 1);
                reader = s.reader;
            }
            s.left--;
            const ScanBlock* block = group.block + m * group.blocks_per_mcu;
            for (const ScanBlock* end = block + group.blocks_per_mcu; block != end; block++) {
                std::int16_t* to = s.coefficients + block->pair * kPairEntries + block->lane * 8;
                const std::uint32_t n = decode_block(reader, *block->dc, *block->ac,
                                                     s.predictor[block->component], to, kPairPlace);
                if (GS_UNLIKELY(n == kDoubt)) return false;
                extent[block->pair] = std::max(extent[block->pair], n);
            }
        }
        if (GS_UNLIKELY(reader.overrun())) return false;
        for (int i = 0; i < group.pairs; i++) {
            const ScanPair& pair = group.pair[i];
            const ScanTarget &a = pair.target[0], &b = pair.target[1];
            idct(s.coefficients + i * kPairEntries, pair.quant, static_cast<int>(extent[i]),
                 at[a.component] + a.y * planes[a.component].stride + a.x,
                 at[b.component] + b.y * planes[b.component].stride + b.x, planes[a.component].stride);
        }
        for (int c = 0; c < 3; c++) at[c] += planes[c].step;
    }
    s.reader = reader;
    return true;
}

GS_LOOP_TARGET GS_INLINE bool skip_loop(Scan& s, std::int64_t mcus) {
    const ScanGroup& group = s.group;
    BitReader reader = s.reader;
    for (; mcus > 0; mcus--) {
        if (GS_UNLIKELY(s.left == 0)) {
            if (!reader.at_end()) return false;
            s.enter(s.interval + 1);
            reader = s.reader;
        }
        s.left--;
        const ScanBlock* block = group.block;
        for (const ScanBlock* end = block + group.blocks_per_mcu; block != end; block++)
            if (GS_UNLIKELY(!skip_block(reader, *block->dc, *block->ac, s.predictor[block->component])))
                return false;
        if (GS_UNLIKELY(reader.overrun())) return false;
    }
    s.reader = reader;
    return true;
}

}  // namespace
}  // namespace gs::jpeg
