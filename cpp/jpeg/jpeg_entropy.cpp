#include "jpeg/jpeg_entropy.hpp"

#include <cstring>

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

}  // namespace gs::jpeg
