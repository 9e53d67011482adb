#include "jpeg/jpeg_huffman.hpp"

namespace gs::jpeg {

bool HuffmanTable::build(const HuffmanSpec& spec, Use use) {
    const int spec_size = 16 + spec.symbols;
    if (spec_size == spec_size_ && use == use_ &&
        std::memcmp(spec_, spec.counts, static_cast<std::size_t>(spec_size)) == 0)
        return spec_ok_;
    spec_size_ = spec_size;
    use_ = use;
    std::memcpy(spec_, spec.counts, static_cast<std::size_t>(spec_size));
    spec_ok_ = build_codes(spec);
    if (spec_ok_ && (use == Use::ac || use == Use::ac_first)) pair_up();
    return spec_ok_;
}

// Fills `entry` with one code each, in the form of DC tables; the end of a block is a size of 0 with
// the run kEndOfBlock.
bool HuffmanTable::build_codes(const HuffmanSpec& spec) {
    const bool is_dc = use_ == Use::dc;
    std::memcpy(symbols, spec.counts + 16, static_cast<std::size_t>(spec.symbols));
    for (std::uint32_t& e : entry) e = AcStep::kRare << 8 | 63u << 24;
    std::uint32_t code = 0;
    int index = 0;
    limit[0] = 0;
    base[0] = 0;
    for (std::uint32_t length = 1; length <= 16; length++) {
        code <<= 1;
        base[length] = index - static_cast<std::int32_t>(code);
        for (int i = 0; i < spec_[length - 1]; i++, index++, code++) {
            if (code >= 1u << length) return false;
            const std::uint32_t symbol = symbols[index], size = symbol & 15;
            std::uint32_t run = symbol >> 4;
            if (is_dc && symbol > 15) return false;
            if (length > kBits || size > (is_dc ? 11 : 10) || (!is_dc && length + size > kMostBits)) continue;
            if (!is_dc && size == 0 && use_ != Use::ac_refinement) {
                // Left to the rare ones: sixteen zeros without a coefficient, and runs of ended blocks.
                if (run == 15 || (run != 0 && use_ == Use::ac_first)) continue;
                run = AcStep::kEndOfBlock;
            }
            const std::uint32_t e = (length + size) | run << 8 | length << 16 | (63 - size) << 24;
            const std::uint32_t first = code << (kBits - length);
            for (std::uint32_t j = 0; j < 1u << (kBits - length); j++) entry[first + j] = e;
        }
        limit[length] = code << (16 - length);
    }
    return true;
}

// From entries of one code each: `step` with a second coefficient, and `entry` with as many codes as fit.
void HuffmanTable::pair_up() {
    std::uint32_t single[1 << kBits];
    std::memcpy(single, entry, sizeof single);
    constexpr std::uint32_t kMask = (1 << kBits) - 1;
    for (std::uint32_t i = 0; i <= kMask; i++) {
        const std::uint32_t e = single[i], bits = e & 255, run = e >> 8 & 255;
        AcStep& s = step[i];
        s = {};
        s.bits = static_cast<std::uint8_t>(bits);
        s.run = static_cast<std::uint8_t>(run);
        s.length = static_cast<std::uint8_t>(e >> 16);
        s.size = static_cast<std::uint8_t>(63 - (e >> 24));
        std::uint32_t all_bits = bits, advance = run + 1;
        if (run == AcStep::kRare) {
            entry[i] = AcStep::kRare << 8;
            continue;
        }
        if (run == AcStep::kEndOfBlock) {
            entry[i] = bits | AcStep::kEndOfBlock << 8;
            continue;
        }
        bool ended = false;
        for (int n = 2; all_bits < kBits && !ended; n++) {
            const std::uint32_t next = single[i << all_bits & kMask];
            const std::uint32_t next_bits = next & 255, next_run = next >> 8 & 255, length = next >> 16 & 255;
            if (next_run == AcStep::kRare || all_bits + length > kBits || all_bits + next_bits > kMostBits)
                break;
            ended = next_run == AcStep::kEndOfBlock;
            if (n == 2 && ended) {
                s.bits = static_cast<std::uint8_t>(all_bits + next_bits);
                s.advance = AcStep::kEndOfBlock + 1;
            } else if (n == 2 && all_bits + next_bits <= kBits) {
                const std::uint64_t top = std::uint64_t{i << all_bits & kMask} << (64 - kBits);
                s.bits = static_cast<std::uint8_t>(all_bits + next_bits);
                s.advance = static_cast<std::uint8_t>(next_run + 1);
                s.second = static_cast<std::int16_t>(coefficient(top, length, next >> 24));
            }
            const std::uint32_t further = ended ? AcStep::kEndOfBlock : next_run + 1;
            if (!ended && advance + further > 63) break;
            all_bits += next_bits;
            advance += further;
        }
        entry[i] = all_bits | advance << 8;
    }
}

int HuffmanTable::find(std::uint32_t top16, std::uint32_t& length) const {
    for (length = 1; length <= 16; length++)
        if (top16 < limit[length])
            return symbols[base[length] + static_cast<std::int32_t>(top16 >> (16 - length))];
    return -1;
}

std::uint32_t rare_symbol(BitReader& in, const HuffmanTable& table, std::uint32_t k, std::int32_t& value) {
    in.refill();
    std::uint32_t length;
    const int symbol = table.find(static_cast<std::uint32_t>(in.bits >> 48), length);
    const auto run = static_cast<std::uint32_t>(symbol >> 4), size = static_cast<std::uint32_t>(symbol & 15);
    if (symbol < 0 || size > 10) return kDoubt;
    if (size == 0 && run != 15) {
        in.skip(length);
        return k + AcStep::kEndOfBlock + 1;
    }
    value = coefficient(in.bits, length, 63 - size);
    in.skip(length + size);
    return k + run + 1;
}

std::int32_t rare_difference(BitReader& in, const HuffmanTable& table, bool& doubt) {
    std::uint32_t length;
    const int symbol = table.find(static_cast<std::uint32_t>(in.bits >> 48), length);
    if (symbol < 0 || symbol > 11) {
        doubt = true;
        return 0;
    }
    const auto size = static_cast<std::uint32_t>(symbol);
    const std::int32_t value = coefficient(in.bits, length, 63 - size);
    in.skip(length + size);
    return value;
}

}  // namespace gs::jpeg
