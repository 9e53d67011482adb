// The loops over a progressive scan, written once for every instruction set (see jpeg_scan_loops.hpp).
//
// `Bits` supplies two operations that differ between them: Bits::nonzero(block), the mask of the coefficients
// other than zero, and Bits::nth(mask, n), the place of the n-th bit of a mask, counted from 0; 64: there are
// no more than n.
#pragma once

#include "jpeg/jpeg_progressive.hpp"
#include "jpeg/jpeg_scan_loops.hpp"

namespace gs::jpeg {
namespace {

// A run of ended blocks (T.81, G.1.2.2): 2^run plus the next `run` bits.
GS_INLINE std::uint32_t ended_blocks(BitReader& in, std::uint32_t run) {
    std::uint32_t count = 1u << run;
    if (run > 0) {
        in.refill();
        count += static_cast<std::uint32_t>(in.bits >> (64 - run));
        in.skip(run);
    }
    return count;
}

// The first scan of AC coefficients; as decode_block (jpeg_huffman.hpp), but the block ends behind
// position `last`. `ended` counts the blocks, this one included, that have none. False for what is not in
// a sound file.
GS_LOOP_TARGET GS_INLINE bool first_ac(BitReader& reader, const HuffmanTable& ac, const ProgressiveScan& scan,
                                       std::int16_t* block, std::uint32_t& ended) {
    if (ended > 0) {
        ended--;
        return true;
    }
    const std::uint32_t limit = static_cast<std::uint32_t>(scan.header.last) + 1;
    const auto low = static_cast<std::uint32_t>(scan.header.low);
    const std::uint8_t* const place = scan.place;
    BitReader in = reader;
    std::uint32_t k = static_cast<std::uint32_t>(scan.header.first);
    while (true) {
        const AcStep* e = nullptr;
        in.refill();
        for (int i = 0; i < 3; i++) {
            e = ac.step + (in.bits >> (64 - HuffmanTable::kBits));
            k += e->run;
            block[place[k + e->advance]] =
                static_cast<std::int16_t>(static_cast<std::uint32_t>(e->second) << low);
            block[place[k]] = static_cast<std::int16_t>(
                static_cast<std::uint32_t>(first_value(in.bits, e->length, e->size)) << low);
            k += e->advance + 1u;
            in.skip(e->bits);
            if (k >= limit) break;
        }
        if (k < limit) continue;
        const std::uint32_t first = k - e->advance;
        if (k > AcStep::kEndOfBlock && first < limit) break;
        if (first > AcStep::kEndOfBlock && first <= AcStep::kRare) break;
        if (k == limit) break;
        if (first <= limit) {
            in.unskip(e->bits);
            k = first - 1 - e->run;
        } else if (first > AcStep::kRare) {
            k = first - 1 - AcStep::kRare;
        } else {
            return false;
        }
        in.refill();
        std::uint32_t length;
        const int symbol = ac.find(static_cast<std::uint32_t>(in.bits >> 48), length);
        if (symbol < 0) return false;
        const auto run = static_cast<std::uint32_t>(symbol) >> 4,
                   size = static_cast<std::uint32_t>(symbol) & 15;
        if (size == 0 && run != 15) {
            in.skip(length);
            ended = ended_blocks(in, run) - 1;
            break;
        }
        k += run;
        if (size > 10 || k + 1 > limit) return false;
        if (size > 0)
            block[k] = static_cast<std::int16_t>(
                static_cast<std::uint32_t>(coefficient(in.bits, length, 63 - size)) << low);
        in.skip(length + size);
        k++;
        if (k == limit) break;
    }
    reader = in;
    return true;
}

// Reads a bit for each coefficient in `which`, lowest place first, and refines those whose bit is set.
GS_LOOP_TARGET GS_INLINE void refine(BitReader& in, std::int16_t* block, std::uint64_t which, int bit) {
    int available = 0;
    while (which != 0) {
        if (available == 0) {
            in.refill();
            available = 56;
        }
        const int k = __builtin_ctzll(which);
        which &= which - 1;
        const int value = block[k];
        const int step = value < 0 ? -bit : bit;
        const bool set = static_cast<std::int64_t>(in.bits) < 0 && (value & bit) == 0;
        block[k] = static_cast<std::int16_t>(value + (set ? step : 0));
        in.skip(1);
        available--;
    }
}

template <class Bits>
GS_LOOP_TARGET GS_INLINE bool refine_ac(BitReader& reader, const HuffmanTable& ac, const ScanHeader& scan,
                                        std::int16_t* block, std::uint32_t& ended) {
    const int bit = 1 << scan.low;
    // From `k` to the scan's last position.
    const auto from = [&](std::uint32_t k) __attribute__((always_inline)) {
        return k > 63 ? 0 : (~std::uint64_t{0} << k) & (~std::uint64_t{0} >> (63 - scan.last));
    };
    BitReader in = reader;
    const std::uint64_t nonzero = Bits::nonzero(block);
    auto k = static_cast<std::uint32_t>(scan.first);
    const auto limit = static_cast<std::uint32_t>(scan.last) + 1;
    if (ended == 0) {
        while (k < limit) {
            in.refill();
            std::uint32_t run, size, length;
            const std::uint32_t e = ac.entry[in.bits >> (64 - HuffmanTable::kBits)];
            if (GS_LIKELY((e >> 8 & 255) != AcStep::kRare)) {
                run = e >> 8 & 255;
                size = 63 - (e >> 24);
                length = e >> 16 & 255;
            } else {
                const int symbol = ac.find(static_cast<std::uint32_t>(in.bits >> 48), length);
                if (symbol < 0) return false;
                run = static_cast<std::uint32_t>(symbol) >> 4;
                size = static_cast<std::uint32_t>(symbol) & 15;
            }
            if (GS_UNLIKELY(size > 1)) return false;
            if (size == 0 && run != 15) {
                in.skip(length);
                ended = ended_blocks(in, run);
                break;
            }
            const int value = static_cast<std::int64_t>(in.bits << length) < 0 ? bit : -bit;
            in.skip(length + size);
            const std::uint64_t left = from(k);
            const std::uint32_t place = Bits::nth(~nonzero & left, run);
            if (GS_UNLIKELY(place > 63)) return false;
            refine(in, block, nonzero & left & ~from(place), bit);
            if (size == 1) block[place] = static_cast<std::int16_t>(value);
            k = place + 1;
        }
    }
    if (ended > 0) {
        refine(in, block, nonzero & from(k), bit);
        ended--;
    }
    reader = in;
    return true;
}

template <class Visit>
GS_LOOP_TARGET GS_INLINE bool for_each_block(Scan& s, const ProgressiveScan& scan, std::uint32_t& ended,
                                             Visit&& visit) {
    BitReader reader = s.reader;
    const bool single = scan.header.components == 1;
    for (int y = 0; y < scan.mcu_rows; y++) {
        for (int x = 0; x < scan.mcus_per_row; x++) {
            if (GS_UNLIKELY(s.left == 0)) {
                if (!reader.at_end()) return false;
                s.enter(s.interval + 1);
                reader = s.reader;
                ended = 0;
            }
            s.left--;
            for (int i = 0; i < scan.header.components; i++) {
                const CoefficientPlane& plane = *scan.plane[i];
                const int h = single ? 1 : plane.h, v = single ? 1 : plane.v;
                for (int dy = 0; dy < v; dy++)
                    for (int dx = 0; dx < h; dx++)
                        if (GS_UNLIKELY(!visit(reader, i, plane.block(x * h + dx, y * v + dy)))) return false;
            }
            if (GS_UNLIKELY(reader.overrun())) return false;
        }
    }
    s.reader = reader;
    return true;
}

template <class Bits>
GS_LOOP_TARGET GS_INLINE bool progressive_loop(Scan& s, const ProgressiveScan& scan) {
    const ScanHeader& h = scan.header;
    std::uint32_t ended = 0;
    if (h.first == 0 && h.last > 0)  // sequential
        return for_each_block(s, scan, ended, [&](BitReader& in, int i, std::int16_t* block) GS_LOOP_LAMBDA {
            return decode_block(in, *scan.dc[i], *scan.sequential_ac[i], s.predictor[i], block, scan.place) !=
                   kDoubt;
        });
    if (h.first > 0 && h.high == 0)
        return for_each_block(s, scan, ended, [&](BitReader& in, int, std::int16_t* block) GS_LOOP_LAMBDA {
            return first_ac(in, *scan.ac, scan, block, ended);
        });
    if (h.first > 0)
        return for_each_block(s, scan, ended, [&](BitReader& in, int, std::int16_t* block) GS_LOOP_LAMBDA {
            return refine_ac<Bits>(in, *scan.ac, h, block, ended);
        });
    if (h.high == 0)
        return for_each_block(s, scan, ended, [&](BitReader& in, int i, std::int16_t* block) GS_LOOP_LAMBDA {
            in.refill();
            std::int32_t& predictor = s.predictor[i];
            if (!decode_dc(in, *scan.dc[i], predictor)) return false;
            block[0] = static_cast<std::int16_t>(static_cast<std::uint32_t>(predictor) << h.low);
            return block[0] >> h.low == predictor;
        });
    return for_each_block(s, scan, ended, [&](BitReader& in, int, std::int16_t* block) GS_LOOP_LAMBDA {
        in.refill();
        if (static_cast<std::int64_t>(in.bits) < 0)
            block[0] = static_cast<std::int16_t>(block[0] | 1 << h.low);
        in.skip(1);
        return true;
    });
}

// Transforms the MCUs from column `left` on, `mcus` of them, of row `row`; the counterpart of decode_loop.
template <class Bits, class Idct>
GS_LOOP_TARGET GS_INLINE void render_loop(Scan& s, const CoefficientPlane* coefficients, int row, int left,
                                          int mcus, const SamplePlane* planes, Idct&& idct) {
    const ScanGroup& group = s.group;
    std::uint8_t* at[3] = {planes[0].at, planes[1].at, planes[2].at};
    for (int done = 0; done < mcus; done += group.mcus) {
        for (int i = 0; i < group.pairs; i++) {
            const ScanPair& pair = group.pair[i];
            std::int16_t* to = s.coefficients + i * kPairEntries;
            std::uint64_t both = 1;
            for (int lane = 0; lane < 2; lane++) {
                const ScanTarget& target = pair.target[lane];
                const CoefficientPlane& plane = coefficients[target.component];
                const int x = (left + done) * plane.h + target.x / 8;
                if (x >= plane.stride) continue;  // the second MCU of the last group may not be there
                const std::int16_t* block = plane.block(x, row * plane.v + target.y / 8);
                std::uint64_t nonzero = Bits::nonzero(block);
                both |= nonzero;
                for (; nonzero != 0; nonzero &= nonzero - 1) {
                    const int k = __builtin_ctzll(nonzero);
                    to[kPairPlace[k] + 8 * lane] = block[k];
                }
            }
            const ScanTarget &a = pair.target[0], &b = pair.target[1];
            idct(to, pair.quant, 64 - __builtin_clzll(both),
                 at[a.component] + a.y * planes[a.component].stride + a.x,
                 at[b.component] + b.y * planes[b.component].stride + b.x, planes[a.component].stride);
        }
        for (int c = 0; c < 3; c++) at[c] += planes[c].step;
    }
}

}  // namespace
}  // namespace gs::jpeg
