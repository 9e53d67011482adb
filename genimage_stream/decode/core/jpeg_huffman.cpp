#include "jpeg_huffman.hpp"

namespace gs::jpeg {

bool HuffmanTable::build(const HuffmanSpec& spec, bool is_dc) {
    const int spec_size = 16 + spec.symbols;
    if (spec_size == spec_size_ && std::memcmp(spec_, spec.counts, static_cast<std::size_t>(spec_size)) == 0)
        return spec_ok_;
    spec_size_ = spec_size;
    spec_ok_ = false;
    std::memcpy(spec_, spec.counts, static_cast<std::size_t>(spec_size));
    std::memcpy(symbols, spec.counts + 16, static_cast<std::size_t>(spec.symbols));

    constexpr std::uint32_t kRareEntry = kRare << 8;
    for (std::uint32_t& e : entry) e = kRareEntry;
    std::uint32_t code = 0;
    int index = 0;
    limit[0] = 0;
    base[0] = 0;
    for (std::uint32_t length = 1; length <= 16; length++) {
        code <<= 1;
        base[length] = index - static_cast<std::int32_t>(code);
        for (int i = 0; i < spec_[length - 1]; i++, index++, code++) {
            if (code >= 1u << length) return false;
            const std::uint32_t symbol = symbols[index], run = symbol >> 4, size = symbol & 15;
            if (is_dc && symbol > 15) return false;
            if (length > kBits) continue;
            std::uint32_t e = (length + size) | run << 8 | length << 16 | (63 - size) << 24;
            if (is_dc) {
                if (size > 11) continue;
            } else if (size == 0 && run != 15) {
                e = length | kEndOfBlock << 8 | length << 16 | 63u << 24;
            } else if (size > 10 || length + size > kMostBits) {
                continue;
            }
            const std::uint32_t first = code << (kBits - length);
            for (std::uint32_t j = 0; j < 1u << (kBits - length); j++) entry[first + j] = e;
        }
        limit[length] = code << (16 - length);
    }
    spec_ok_ = true;
    return true;
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
        return k + HuffmanTable::kEndOfBlock + 1;
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
