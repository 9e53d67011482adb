#include "jpeg/jpeg_idct.hpp"

#include <algorithm>
#include <cstring>

namespace gs::jpeg {
namespace {

constexpr std::uint8_t kNaturalOrder[64] = {0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,
                                            12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6,  7,  14, 21, 28,
                                            35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
                                            58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63};

constexpr int place_of(int k) {
    return kNaturalOrder[k] / 8 * 16 + kNaturalOrder[k] % 8;
}

#define GS_EIGHT(k)                                                                                   \
    place_of(k), place_of(k + 1), place_of(k + 2), place_of(k + 3), place_of(k + 4), place_of(k + 5), \
        place_of(k + 6), place_of(k + 7)
#define GS_DUMMY(n) n, n, n, n, n, n, n, n, n, n, n, n, n, n, n, n
#define GS_DUMMY_64 GS_DUMMY(128), GS_DUMMY(128), GS_DUMMY(128), GS_DUMMY(128)

// All sums are of unsigned values: they wrap as the vector code's do.
std::int32_t wrap16(std::int32_t v) {
    return static_cast<std::int16_t>(static_cast<std::uint32_t>(v));
}
std::int32_t saturate16(std::int32_t v) {
    return std::clamp(v, -32768, 32767);
}

// One pass over eight values `step` apart; `shift` is its descaling.
void pass(std::int32_t* v, int step, int shift) {
    std::int32_t* p[8];
    for (int i = 0; i < 8; i++) p[i] = v + i * step;
    const auto in = [&](int i) { return *p[i]; };
    const auto dot = [](std::int32_t x, std::int32_t cx, std::int32_t y, std::int32_t cy) {
        return static_cast<std::uint32_t>(x * cx) + static_cast<std::uint32_t>(y * cy);
    };
    const std::uint32_t round = 1u << (shift - 1);
    const std::uint32_t even0 = (static_cast<std::uint32_t>(wrap16(in(0) + in(4))) << 13) + round;
    const std::uint32_t even1 = (static_cast<std::uint32_t>(wrap16(in(0) - in(4))) << 13) + round;
    const std::uint32_t even2 = dot(in(2), 4433, in(6), 4433 - 15137);
    const std::uint32_t even3 = dot(in(2), 4433 + 6270, in(6), 4433);
    const std::uint32_t t10 = even0 + even3, t13 = even0 - even3, t11 = even1 + even2, t12 = even1 - even2;

    const std::int32_t z3 = wrap16(in(7) + in(3)), z4 = wrap16(in(5) + in(1));
    const std::uint32_t s3 = dot(z3, 9633 - 16069, z4, 9633), s4 = dot(z3, 9633, z4, 9633 - 3196);
    const std::uint32_t odd0 = dot(in(7), 2446 - 7373, in(1), -7373) + s3;
    const std::uint32_t odd1 = dot(in(5), 16819 - 20995, in(3), -20995) + s4;
    const std::uint32_t odd2 = dot(in(5), -20995, in(3), 25172 - 20995) + s3;
    const std::uint32_t odd3 = dot(in(7), -7373, in(1), 12299 - 7373) + s4;

    const auto out = [&](int i, std::uint32_t sum) {
        *p[i] = saturate16(static_cast<std::int32_t>(sum) >> shift);
    };
    out(0, t10 + odd3);
    out(7, t10 - odd3);
    out(1, t11 + odd2);
    out(6, t11 - odd2);
    out(2, t12 + odd1);
    out(5, t12 - odd1);
    out(3, t13 + odd0);
    out(4, t13 - odd0);
}

}  // namespace

const std::uint8_t kPairPlace[576] = {GS_EIGHT(0),  GS_EIGHT(8),  GS_EIGHT(16), GS_EIGHT(24),
                                      GS_EIGHT(32), GS_EIGHT(40), GS_EIGHT(48), GS_EIGHT(56),
                                      GS_DUMMY_64,  GS_DUMMY_64,  GS_DUMMY_64,  GS_DUMMY_64,
                                      GS_DUMMY_64,  GS_DUMMY_64,  GS_DUMMY_64,  GS_DUMMY_64};

void make_quant_pair(const std::uint8_t* lane0, const std::uint8_t* lane1, std::int16_t* pair) {
    for (int k = 0; k < 64; k++) {
        pair[place_of(k)] = lane0[k];
        pair[place_of(k) + 8] = lane1[k];
    }
}

bool idct_pair_plain(std::int16_t* pair, const std::int16_t* quant, int extent, std::uint8_t* a,
                     std::uint8_t* b, std::ptrdiff_t stride) {
    bool sound = true;
    for (int lane = 0; lane < 2; lane++) {
        std::uint8_t* to = lane ? b : a;
        std::int32_t v[64];
        for (int i = 0; i < 64; i++) {
            const int at = i / 8 * 16 + lane * 8 + i % 8;
            v[i] = wrap16(pair[at] * quant[at]);
        }
        if (extent <= 1) {
            const int x = std::clamp((wrap16(v[0] * 4) + 16) >> 5, -128, 127) + 128;
            for (int row = 0; row < 8; row++) std::memset(to + row * stride, x, 8);
            continue;
        }
        for (int i = 0; i < 8; i++) sound = sound && std::abs(v[i]) < kRow0Limit;
        for (int i = 0; i < 8; i++) pass(v + i, 8, 11);
        for (int i = 0; i < 8; i++) pass(v + 8 * i, 1, 18);
        for (int i = 0; i < 64; i++)
            to[i / 8 * stride + i % 8] = static_cast<std::uint8_t>(std::clamp(v[i], -128, 127) + 128);
    }
    std::memset(pair, 0, 128 * sizeof(std::int16_t));
    return sound;
}

}  // namespace gs::jpeg
