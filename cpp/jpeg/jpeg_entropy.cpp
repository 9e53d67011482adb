#include "jpeg/jpeg_entropy.hpp"

#include <cstring>
#include <string>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace gs::jpeg {
namespace {

// Copies up to the next 0xFF byte (or the end) and returns where that is; `to` advances with it. With Copy =
// false it only looks.
template <bool Copy>
const std::uint8_t* to_next_ff(const std::uint8_t* from, const std::uint8_t* end, std::uint8_t*& to) {
#if defined(__SSE2__)
    const __m128i ff = _mm_set1_epi8(-1);
    while (end - from >= 32) {
        const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
        const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 16));
        if (Copy) {
            // May write up to 31 bytes more than are kept; what comes next overwrites them.
            _mm_storeu_si128(reinterpret_cast<__m128i*>(to), a);
            _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 16), b);
        }
        const auto low = static_cast<unsigned>(_mm_movemask_epi8(_mm_cmpeq_epi8(a, ff)));
        const auto high = static_cast<unsigned>(_mm_movemask_epi8(_mm_cmpeq_epi8(b, ff)));
        const unsigned mask = low | high << 16;
        if (mask != 0) {
            const int n = __builtin_ctz(mask);
            to += Copy ? n : 0;
            return from + n;
        }
        from += 32;
        to += Copy ? 32 : 0;
    }
#endif
    while (from < end && *from != 0xFF) {
        if (Copy) *to++ = *from;
        from++;
    }
    return from;
}

}  // namespace

bool EntropyData::unwrap(ByteView b, std::size_t begin, std::size_t count, std::size_t first,
                         std::size_t last) {
    if (count > (b.size - begin) / 2) return false;  // an interval and its marker have two bytes at the least
    std::uint8_t* const base = bytes_.reserve(b.size - begin + kPadding + 64);
    auto* list = reinterpret_cast<Interval*>(intervals_.reserve(count * sizeof(Interval)));
    const std::uint8_t* from = b.data + begin;
    const std::uint8_t* const end = b.data + b.size;
    std::uint8_t* to = base;
    for (std::size_t i = 0; i < count; i++) {
        const bool wanted = i >= first && i <= last;
        list[i].begin = static_cast<std::size_t>(to - base);
        while (true) {
            from = wanted ? to_next_ff<true>(from, end, to) : to_next_ff<false>(from, end, to);
            if (end - from < 2) return false;
            if (from[1] != 0) break;
            *to = 0xFF;
            to += wanted;
            from += 2;
        }
        list[i].size = static_cast<std::size_t>(to - base) - list[i].begin;
        end_ = static_cast<std::size_t>(from - b.data);
        while (from < end && *from == 0xFF) from++;  // fill bytes before the marker
        if (from == end) return false;
        const int marker = *from++;
        const bool restart = marker >= 0xD0 && marker <= 0xD7;
        if (i + 1 < count ? marker != 0xD0 + static_cast<int>(i % 8) : restart || marker == 0) return false;
    }
    std::memset(to, 0, kPadding);
    return true;
}

bool has_end_marker(ByteView bytes, std::size_t entropy_begin) {
    for (std::size_t at = bytes.size; at >= entropy_begin + 2; at--)
        if (bytes.data[at - 1] == 0xD9 && bytes.data[at - 2] == 0xFF) return true;
    return false;
}

void find_restart_intervals(ByteView bytes, std::size_t entropy_begin, std::size_t count,
                            std::vector<std::uint32_t>& starts) {
    starts.clear();
    if (bytes.size > 0xFFFFFFFFu) throw DecodeError("a JPEG of more than 4 GiB");
    // An interval and its marker have two bytes at the least: a header cannot make a small file cost much.
    if (count > (bytes.size - entropy_begin) / 2)
        throw DecodeError("truncated JPEG: too few bytes for " + std::to_string(count) +
                          " restart intervals");
    starts.reserve(count + 1);
    starts.push_back(static_cast<std::uint32_t>(entropy_begin));
    const std::uint8_t* p = bytes.data + entropy_begin;
    const std::uint8_t* const end = bytes.data + bytes.size;
    while (true) {
        p = next_marker(p, end);
        if (p == nullptr)
            throw DecodeError("truncated JPEG: it ends within restart interval " +
                              std::to_string(starts.size() - 1) + " of " + std::to_string(count));
        const int next = *p++;
        const bool expected =
            starts.size() < count ? next == 0xD0 + static_cast<int>((starts.size() - 1) % 8) : next == 0xD9;
        if (!expected)
            throw DecodeError("damaged JPEG: wrong marker after restart interval " +
                              std::to_string(starts.size() - 1) + " of " + std::to_string(count));
        starts.push_back(static_cast<std::uint32_t>(p - bytes.data));
        if (starts.size() == count + 1) return;
    }
}

bool restart_markers_fit(ByteView bytes, const Header& header) {
    if (header.contradiction != nullptr) return false;
    const bool sequential = header.is_huffman_sequential() || header.frame == 0xC9;  // C9: arithmetic
    if (!sequential || !header.has_one_scan() || header.restart_interval == 0) return true;
    const std::int64_t mcus = std::int64_t{header.mcus_per_row()} * header.mcu_rows();
    const std::int64_t between = (mcus - 1) / header.restart_interval;
    const std::uint8_t* p = bytes.data + header.entropy_begin;
    for (std::int64_t i = 0;; i++) {
        p = next_marker(p, bytes.data + bytes.size);
        if (p == nullptr) return false;
        const bool is_restart = *p >= 0xD0 && *p <= 0xD7;
        if (i == between) return !is_restart;
        if (*p++ != 0xD0 + i % 8) return false;
    }
}

}  // namespace gs::jpeg
