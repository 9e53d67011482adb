#include "recode/jpeg_encode.hpp"

#include <algorithm>
#include <cstring>
#include <functional>
#include <queue>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

// A token is a symbol with its table and the bits that follow its code: bits 0-7 the symbol, 8-9 the table,
// 16-31 the bits. The first pass over the coefficients makes them and counts symbols, the second replaces
// them by codes.

namespace gs::jpeg {
namespace {

constexpr int kTables = 4;  // luma DC, luma AC, chroma DC, chroma AC
constexpr int kLongest = 16;
constexpr std::size_t kMostBlocks = std::size_t{1} << 20;  // a token buffer of 272 MB
constexpr std::uint32_t kEndOfBlock = 0x00, kSixteenZeros = 0xF0;

std::uint64_t nonzero(const std::int16_t* block) {
    std::uint64_t mask = 0;
#if defined(__SSE2__)
    const __m128i none = _mm_setzero_si128();
    const auto* v = reinterpret_cast<const __m128i*>(block);
    for (int i = 0; i < 4; i++) {
        const __m128i a = _mm_cmpeq_epi16(_mm_loadu_si128(v + 2 * i), none);
        const __m128i b = _mm_cmpeq_epi16(_mm_loadu_si128(v + 2 * i + 1), none);
        const auto zero = static_cast<unsigned>(_mm_movemask_epi8(_mm_packs_epi16(a, b)));
        mask |= std::uint64_t{~zero & 0xFFFF} << (16 * i);
    }
#else
    for (int k = 0; k < 64; k++) mask |= std::uint64_t{block[k] != 0} << k;
#endif
    return mask;
}

struct Coded {
    std::uint32_t size;
    std::uint32_t bits;
};

// T.81, F.1.2.1: the size of a value and its bits; those of a negative one are one less.
GS_INLINE Coded coded(int value) {
    const int negative = value >> 31;
    const auto magnitude = static_cast<std::uint32_t>((value ^ negative) - negative);
    const std::uint32_t size = magnitude == 0 ? 0 : 32 - static_cast<std::uint32_t>(__builtin_clz(magnitude));
    return {size, static_cast<std::uint32_t>(value + negative) & ((1u << size) - 1)};
}

struct Code {
    std::uint8_t counts[kLongest + 1] = {};  // codes of each length
    std::uint8_t symbols[256];
    int used = 0;
};

// T.81, K.2 (figures K.1 to K.4), with a reserved symbol so that no code is all ones. Ties go to
// the larger symbol.
Code best_code(const std::uint32_t counts[256]) {
    constexpr int kReserved = 256, kMost = 64;
    int length[257] = {}, other[257];
    std::fill_n(other, 257, -1);
    // The lightest on top; of equal ones the largest symbol.
    std::priority_queue<std::uint64_t, std::vector<std::uint64_t>, std::greater<std::uint64_t>> live;
    const auto add = [&live](std::uint64_t weight, int symbol) {
        live.push(weight << 9 | static_cast<std::uint64_t>(kReserved - symbol));
    };
    for (int i = 0; i < kReserved; i++)
        if (counts[i] > 0) add(counts[i], i);
    add(1, kReserved);
    const auto take = [&live](std::uint64_t& weight) {
        const std::uint64_t top = live.top();
        live.pop();
        weight += top >> 9;
        return kReserved - static_cast<int>(top & 511);
    };
    while (live.size() > 1) {
        std::uint64_t weight = 0;
        const int a = take(weight), b = take(weight);
        add(weight, a);
        int last = a;
        for (length[a]++; other[last] >= 0; length[last]++) last = other[last];
        other[last] = b;
        for (int i = b; i >= 0; i = other[i]) length[i]++;
    }
    int bits[kMost + 1] = {};
    for (int i = 0; i <= kReserved; i++)
        if (length[i] > 0) bits[std::min(length[i], kMost)]++;
    for (int i = kMost; i > kLongest; i--) {
        while (bits[i] > 0) {
            int j = i - 2;
            while (bits[j] == 0) j--;
            bits[i] -= 2;
            bits[i - 1]++;
            bits[j + 1] += 2;
            bits[j]--;
        }
    }
    int longest = kLongest;
    while (bits[longest] == 0) longest--;
    bits[longest]--;  // the reserved one
    Code code;
    for (int i = 1; i <= kLongest; i++) code.counts[i] = static_cast<std::uint8_t>(bits[i]);
    for (int l = 1; l <= kMost; l++)
        for (int s = 0; s < kReserved; s++)
            if (length[s] == l) code.symbols[code.used++] = static_cast<std::uint8_t>(s);
    return code;
}

// For a token's lower bits: the code, shifted to leave room for the bits, from bit 8 on; below, how many bits
// there are in all.
void fill_codes(const Code& code, std::uint64_t* to) {
    std::uint32_t next = 0;
    int at = 0;
    for (std::uint32_t l = 1; l <= kLongest; l++, next <<= 1)
        for (int i = 0; i < code.counts[l]; i++, next++) {
            const std::uint32_t symbol = code.symbols[at++], size = symbol & 15;
            to[symbol] = std::uint64_t{next} << size << 8 | (l + size);
        }
}

class Writer {
  public:
    explicit Writer(std::uint8_t* to) : to_(to) {}

    GS_INLINE void put(std::uint64_t bits, std::uint32_t count) {
        held_ = held_ << count | bits;
        count_ += count;
        if (count_ < 32) return;
        count_ -= 32;
        const auto word = static_cast<std::uint32_t>(held_ >> count_);
        // A byte of ones is followed by a zero byte. Adding 1 to such a byte clears its top bit; where that
        // happens, bytes are looked at one by one.
        if ((word & ~(word + 0x01010101u) & 0x80808080u) == 0) {
            const std::uint8_t bytes[4] = {
                static_cast<std::uint8_t>(word >> 24), static_cast<std::uint8_t>(word >> 16),
                static_cast<std::uint8_t>(word >> 8), static_cast<std::uint8_t>(word)};
            std::memcpy(to_, bytes, 4);
            to_ += 4;
        } else {
            for (int shift = 24; shift >= 0; shift -= 8) put_byte(static_cast<std::uint8_t>(word >> shift));
        }
    }
    // Fills the last byte with ones and begins anew.
    void end_interval() {
        const std::uint32_t fill = (8 - count_ % 8) % 8;
        held_ = held_ << fill | ((1u << fill) - 1);
        count_ += fill;
        while (count_ > 0) {
            count_ -= 8;
            put_byte(static_cast<std::uint8_t>(held_ >> count_));
        }
    }
    void marker(int code) {
        *to_++ = 0xFF;
        *to_++ = static_cast<std::uint8_t>(code);
    }
    std::uint8_t* end() const { return to_; }

  private:
    GS_INLINE void put_byte(std::uint8_t byte) {
        *to_++ = byte;
        if (byte == 0xFF) *to_++ = 0;
    }

    std::uint8_t* to_;
    std::uint64_t held_ = 0;
    std::uint32_t count_ = 0;
};

void put16(std::vector<std::uint8_t>& out, std::size_t value) {
    out.push_back(static_cast<std::uint8_t>(value >> 8));
    out.push_back(static_cast<std::uint8_t>(value));
}

void put_table(std::vector<std::uint8_t>& out, int index, const Code& code) {
    put16(out, 0xFFC4);
    put16(out, 19 + static_cast<std::size_t>(code.used));
    out.push_back(static_cast<std::uint8_t>(index % 2 << 4 | index / 2));
    out.insert(out.end(), code.counts + 1, code.counts + 1 + kLongest);
    out.insert(out.end(), code.symbols, code.symbols + code.used);
}

}  // namespace

bool ScanEncoder::tokenize(const Header& header, const CoefficientPlane* planes, int interval) {
    std::memset(counts_, 0, sizeof counts_);
    ends_.clear();
    const int per_row = header.mcus_per_row(), rows = header.mcu_rows();
    std::size_t blocks = 0;
    for (int c = 0; c < header.components; c++)
        blocks += static_cast<std::size_t>(planes[c].h * planes[c].v) * static_cast<std::size_t>(per_row) *
                  static_cast<std::size_t>(rows);
    if (blocks > kMostBlocks) return false;
    auto* const begin = reinterpret_cast<std::uint32_t*>(tokens_.reserve(blocks * 65 * 4));
    std::uint32_t* at = begin;
    const auto put = [&](std::uint32_t index, std::uint32_t bits) __attribute__((always_inline)) {
        counts_[index]++;
        *at++ = index | bits << 16;
    };
    int predictor[3] = {}, left = interval > 0 ? interval : -1;  // -1: it never ends
    for (int y = 0; y < rows; y++) {
        for (int x = 0; x < per_row; x++, left--) {
            if (left == 0) {
                ends_.push_back(static_cast<std::size_t>(at - begin));
                std::fill_n(predictor, 3, 0);
                left = interval;
            }
            for (int c = 0; c < header.components; c++) {
                const CoefficientPlane& plane = planes[c];
                const std::uint32_t dc = c == 0 ? 0 : 2 << 8, ac = dc + (1 << 8);
                for (int i = 0; i < plane.h * plane.v; i++) {
                    const int bx = x * plane.h + i % plane.h, by = y * plane.v + i / plane.h;
                    // Blocks beyond the component's edge repeat the one before: no difference, no more.
                    if (bx >= plane.width || by >= plane.height) {
                        put(dc, 0);
                        put(ac | kEndOfBlock, 0);
                        continue;
                    }
                    const std::int16_t* block = plane.block(bx, by);
                    const Coded difference = coded(block[0] - predictor[c]);
                    if (difference.size > 11) return false;
                    predictor[c] = block[0];
                    put(dc | difference.size, difference.bits);
                    int before = 0;
                    std::uint32_t largest = 0;
                    for (std::uint64_t mask = nonzero(block) & ~std::uint64_t{1}; mask != 0;
                         mask &= mask - 1) {
                        const int k = __builtin_ctzll(mask);
                        auto run = static_cast<std::uint32_t>(k - before - 1);
                        before = k;
                        for (; run > 15; run -= 16) put(ac | kSixteenZeros, 0);
                        const Coded value = coded(block[k]);
                        largest = std::max(largest, value.size);
                        put(ac | (run << 4 | (value.size & 15)), value.bits);
                    }
                    if (largest > 10) return false;
                    if (before < 63) put(ac | kEndOfBlock, 0);
                }
            }
        }
    }
    ends_.push_back(static_cast<std::size_t>(at - begin));
    return true;
}

bool ScanEncoder::encode(const Header& header, const CoefficientPlane* planes, int interval,
                         std::vector<std::uint8_t>& out) {
    if (!tokenize(header, planes, interval)) return false;
    const int tables = header.components == 1 ? 2 : kTables;
    std::size_t bits = 0;
    for (int t = 0; t < tables; t++) {
        const Code code = best_code(counts_ + (t << 8));
        put_table(out, t, code);
        fill_codes(code, codes_ + (t << 8));
        for (int i = 0; i < code.used; i++) {
            const int symbol = t << 8 | code.symbols[i];
            bits += std::size_t{counts_[symbol]} * (codes_[symbol] & 255);
        }
    }
    if (interval > 0) {
        put16(out, 0xFFDD);
        put16(out, 4);
        put16(out, static_cast<std::size_t>(interval));
    }
    put16(out, 0xFFDA);
    put16(out, 6 + 2 * static_cast<std::size_t>(header.components));
    out.push_back(static_cast<std::uint8_t>(header.components));
    for (int c = 0; c < header.components; c++) {
        out.push_back(static_cast<std::uint8_t>(header.component[c].id));
        out.push_back(c == 0 ? 0x00 : 0x11);
    }
    out.insert(out.end(), {0, 63, 0});

    // Twice the bytes, should each be followed by a stuffed one; markers, and up to 7 bits before each.
    auto* const coded_at = coded_.reserve(2 * (bits / 8 + 1) + 4 * ends_.size() + 16);
    Writer writer(coded_at);
    const auto* tokens = reinterpret_cast<const std::uint32_t*>(tokens_.data());
    std::size_t at = 0;
    for (std::size_t i = 0; i < ends_.size(); i++) {
        if (i > 0) writer.marker(0xD0 + static_cast<int>((i - 1) % 8));
        for (; at < ends_[i]; at++) {
            const std::uint32_t token = tokens[at];
            const std::uint64_t code = codes_[token & 0x3FF];
            writer.put(code >> 8 | token >> 16, static_cast<std::uint32_t>(code & 255));
        }
        writer.end_interval();
    }
    writer.marker(0xD9);
    out.insert(out.end(), coded_at, writer.end());
    return true;
}

}  // namespace gs::jpeg
