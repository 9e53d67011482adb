#include "pack/sha256.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace gs::pack {
namespace {

constexpr std::size_t kBlock = 64;

// FIPS 180-4, 4.2.2 and 5.3.3: of the cube roots and square roots of the first primes.
alignas(16) constexpr std::uint32_t kRound[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
constexpr std::uint32_t kStart[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                     0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

// A message on its way: first its whole blocks, where they lie, then the one or two that its end and its
// length are padded to.
struct Lane {
    std::uint32_t state[8];
    const std::uint8_t* at;
    std::size_t blocks;  // left in this part
    bool in_tail;
    std::size_t tail_blocks;
    std::uint8_t tail[2 * kBlock];
    std::uint8_t* digest;

    void begin(const Message& message) {
        std::memcpy(state, kStart, sizeof state);
        at = message.bytes.data;
        blocks = message.bytes.size / kBlock;
        in_tail = false;
        digest = message.digest;
        const std::size_t rest = message.bytes.size % kBlock;
        tail_blocks = rest + 9 <= kBlock ? 1 : 2;
        std::memset(tail, 0, sizeof tail);
        if (rest != 0) std::memcpy(tail, message.bytes.data + (message.bytes.size - rest), rest);
        tail[rest] = 0x80;
        const std::uint64_t bits = std::uint64_t{message.bytes.size} * 8;
        for (int i = 0; i < 8; i++)
            tail[tail_blocks * kBlock - 1 - static_cast<std::size_t>(i)] =
                static_cast<std::uint8_t>(bits >> (8 * i));
        if (blocks == 0) enter_tail();
    }
    void enter_tail() {
        in_tail = true;
        at = tail;
        blocks = tail_blocks;
    }
    // After `count` blocks were worked in; true when that was the end of the message.
    bool advance(std::size_t count) {
        at += count * kBlock;
        blocks -= count;
        if (blocks != 0) return false;
        if (!in_tail) {
            enter_tail();
            return false;
        }
        for (int i = 0; i < 8; i++)
            for (int b = 0; b < 4; b++)
                digest[4 * i + b] = static_cast<std::uint8_t>(state[i] >> (24 - 8 * b));
        return true;
    }
};

std::uint32_t turned(std::uint32_t x, int by) {
    return x >> by | x << (32 - by);
}

void work_plain(std::uint32_t* state, const std::uint8_t* p, std::size_t blocks) {
    for (; blocks > 0; blocks--, p += kBlock) {
        std::uint32_t w[64];
        for (int i = 0; i < 16; i++)
            w[i] = std::uint32_t{p[4 * i]} << 24 | std::uint32_t{p[4 * i + 1]} << 16 |
                   std::uint32_t{p[4 * i + 2]} << 8 | p[4 * i + 3];
        for (int i = 16; i < 64; i++)
            w[i] = w[i - 16] + (turned(w[i - 15], 7) ^ turned(w[i - 15], 18) ^ w[i - 15] >> 3) + w[i - 7] +
                   (turned(w[i - 2], 17) ^ turned(w[i - 2], 19) ^ w[i - 2] >> 10);
        std::uint32_t s[8];
        std::memcpy(s, state, sizeof s);
        // Instead of moving eight words on by one place, the places are counted from the other end.
        for (int i = 0; i < 64; i += 8) {
#pragma GCC unroll 8
            for (int j = 0; j < 8; j++) {
                const std::uint32_t a = s[-j & 7], b = s[(1 - j) & 7], c = s[(2 - j) & 7];
                const std::uint32_t e = s[(4 - j) & 7], f = s[(5 - j) & 7], g = s[(6 - j) & 7];
                std::uint32_t& h = s[(7 - j) & 7];
                const std::uint32_t one = h + (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) +
                                          (g ^ (e & (f ^ g))) + kRound[i + j] + w[i + j];
                s[(3 - j) & 7] += one;
                h = one + (turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + ((a & b) | (c & (a | b)));
            }
        }
        for (int i = 0; i < 8; i++) state[i] += s[i];
    }
}

#if defined(__x86_64__)

bool has_instructions() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    static const bool has =
        __builtin_cpu_supports("sse4.1") && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b >> 29 & 1) != 0;
    return has;
}

// Works `blocks` blocks into each of N states. The processor wants the eight words of a state in two
// registers, as (f, e, b, a) and (h, g, d, c) from the lowest up.
template <int N>
__attribute__((target("sha,sse4.1"))) void work(Lane* const* lanes, std::size_t blocks) {
    const __m128i big_endian = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
    __m128i feba[N], hgdc[N];
    const std::uint8_t* p[N];
    for (int n = 0; n < N; n++) {
        const std::uint32_t* s = lanes[n]->state;
        feba[n] = _mm_set_epi32(static_cast<int>(s[0]), static_cast<int>(s[1]), static_cast<int>(s[4]),
                                static_cast<int>(s[5]));
        hgdc[n] = _mm_set_epi32(static_cast<int>(s[2]), static_cast<int>(s[3]), static_cast<int>(s[6]),
                                static_cast<int>(s[7]));
        p[n] = lanes[n]->at;
    }
    for (; blocks > 0; blocks--) {
        __m128i before_feba[N], before_hgdc[N], w[N][4];
        for (int n = 0; n < N; n++) before_feba[n] = feba[n], before_hgdc[n] = hgdc[n];
#pragma GCC unroll 16
        for (int r = 0; r < 16; r++) {
#pragma GCC unroll 2
            for (int n = 0; n < N; n++) {
                __m128i& words = w[n][r & 3];
                if (r < 4) {
                    const auto* from = reinterpret_cast<const __m128i*>(p[n] + 16 * r);
                    words = _mm_shuffle_epi8(_mm_loadu_si128(from), big_endian);
                } else {
                    const __m128i sevens = _mm_alignr_epi8(w[n][(r + 3) & 3], w[n][(r + 2) & 3], 4);
                    words = _mm_add_epi32(_mm_sha256msg1_epu32(words, w[n][(r + 1) & 3]), sevens);
                    words = _mm_sha256msg2_epu32(words, w[n][(r + 3) & 3]);
                }
                const auto* round = reinterpret_cast<const __m128i*>(kRound + 4 * r);
                const __m128i sum = _mm_add_epi32(words, _mm_load_si128(round));
                hgdc[n] = _mm_sha256rnds2_epu32(hgdc[n], feba[n], sum);
                feba[n] = _mm_sha256rnds2_epu32(feba[n], hgdc[n], _mm_shuffle_epi32(sum, 0x0E));
            }
        }
        for (int n = 0; n < N; n++) {
            feba[n] = _mm_add_epi32(feba[n], before_feba[n]);
            hgdc[n] = _mm_add_epi32(hgdc[n], before_hgdc[n]);
            p[n] += kBlock;
        }
    }
    for (int n = 0; n < N; n++) {
        alignas(16) std::uint32_t low[4], high[4];
        _mm_store_si128(reinterpret_cast<__m128i*>(low), feba[n]);
        _mm_store_si128(reinterpret_cast<__m128i*>(high), hgdc[n]);
        const std::uint32_t in_order[8] = {low[3], low[2], high[3], high[2],
                                           low[1], low[0], high[1], high[0]};
        std::memcpy(lanes[n]->state, in_order, sizeof in_order);
    }
}

// The longest first, so that little is left to be done with only one lane busy.
void sha256_two_lanes(const Message* given, std::size_t count) {
    std::vector<Message> messages(given, given + count);
    std::sort(messages.begin(), messages.end(),
              [](const Message& a, const Message& b) { return a.bytes.size > b.bytes.size; });
    Lane both[2];
    Lane* lanes[2] = {&both[0], &both[1]};
    std::size_t next = 0;
    int busy = 0;
    while (next < count || busy > 0) {
        for (; busy < 2 && next < count; next++) lanes[busy++]->begin(messages[next]);
        const std::size_t blocks =
            busy == 2 ? std::min(lanes[0]->blocks, lanes[1]->blocks) : lanes[0]->blocks;
        busy == 2 ? work<2>(lanes, blocks) : work<1>(lanes, blocks);
        const bool second_ends = busy == 2 && lanes[1]->advance(blocks);
        const bool first_ends = lanes[0]->advance(blocks);
        if (first_ends) std::swap(lanes[0], lanes[1]);
        busy -= int{first_ends} + int{second_ends};
    }
}

#endif

}  // namespace

void sha256_plain(const Message* messages, std::size_t count) {
    for (std::size_t i = 0; i < count; i++) {
        Lane lane;
        lane.begin(messages[i]);
        for (std::size_t blocks = lane.blocks;; blocks = lane.blocks) {
            work_plain(lane.state, lane.at, blocks);
            if (lane.advance(blocks)) break;
        }
    }
}

void sha256(const Message* messages, std::size_t count) {
#if defined(__x86_64__)
    if (has_instructions()) return sha256_two_lanes(messages, count);
#endif
    sha256_plain(messages, count);
}

}  // namespace gs::pack
