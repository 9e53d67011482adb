// What the kernels here need of CUDA, for a C++ compiler: put in front of a .cu file (g++ -include), it makes
// a library that decodes on the CPU, lane by lane and slowly, by the same source. For tests.
//
// A lane is a fiber. At every intrinsic that all lanes of a warp come to, a lane leaves its value and lets
// the next one go on; when its turn comes again, the values of all are there. Warps run one after the other,
// so
// __syncthreads cannot be had.
#pragma once

#include <ucontext.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>

#define __constant__
#define __device__
#define __global__
#define __shared__ static

using std::max;

namespace emulated {

constexpr int kLanes = 32;
constexpr std::size_t kStack = 64 << 10;

struct Index {
    unsigned x, y;
};

struct Warp {
    ucontext_t home, lane[kLanes];
    std::unique_ptr<char[]> stack[kLanes];
    std::uint64_t value[2][kLanes];  // of this exchange and the one before
    int exchanges[kLanes] = {};
    bool done[kLanes] = {};
    int now = 0;
    unsigned first_thread = 0;
    std::function<void()> kernel;
};

inline Warp* warp = nullptr;
inline Index thread, block;

// Lanes take their turns upwards or, to see that nothing depends on it, downwards.
#ifdef EMULATED_DOWNWARDS
constexpr int kFirst = kLanes - 1, kNext = -1;
#else
constexpr int kFirst = 0, kNext = 1;
#endif
inline int after(int lane) {
    return (lane + kNext + kLanes) % kLanes;
}

inline void enter(int lane) {
    warp->now = lane;
    thread.x = warp->first_thread + static_cast<unsigned>(lane);
}

// Every lane's `value`, once all have come here.
inline const std::uint64_t* exchange(std::uint64_t value) {
    const int lane = warp->now;
    std::uint64_t* const values = warp->value[warp->exchanges[lane]++ % 2];
    values[lane] = value;
    const int next = after(lane);
    if (warp->done[next]) std::abort();  // on a GPU that would hang or be undefined
    enter(next);
    swapcontext(&warp->lane[lane], &warp->lane[next]);
    return values;
}

inline void run_lane() {
    const int lane = warp->now;
    warp->kernel();
    warp->done[lane] = true;
    if (const int next = after(lane); next != kFirst) {
        enter(next);
        setcontext(&warp->lane[next]);
    }
    setcontext(&warp->home);
}

inline void run_warp(unsigned first_thread, const std::function<void()>& kernel) {
    static Warp here;
    warp = &here;
    here.kernel = kernel;
    here.first_thread = first_thread;
    for (int lane = 0; lane < kLanes; lane++) {
        if (here.stack[lane] == nullptr) here.stack[lane] = std::make_unique<char[]>(kStack);
        here.exchanges[lane] = 0;
        here.done[lane] = false;
        getcontext(&here.lane[lane]);
        here.lane[lane].uc_stack.ss_sp = here.stack[lane].get();
        here.lane[lane].uc_stack.ss_size = kStack;
        here.lane[lane].uc_link = nullptr;
        makecontext(&here.lane[lane], run_lane, 0);
    }
    enter(kFirst);
    swapcontext(&here.home, &here.lane[kFirst]);
}

// A kernel on a grid of blocks of `threads`, a multiple of 32.
inline void run(unsigned wide, unsigned high, unsigned threads, const std::function<void()>& kernel) {
    for (block.y = 0; block.y < high; block.y++)
        for (block.x = 0; block.x < wide; block.x++)
            for (unsigned first = 0; first < threads; first += kLanes) run_warp(first, kernel);
}

}  // namespace emulated

#define threadIdx emulated::thread
#define blockIdx emulated::block

inline std::uint32_t __brev(std::uint32_t v) {
    std::uint32_t r = 0;
    for (int i = 0; i < 32; i++) r |= (v >> i & 1) << (31 - i);
    return r;
}
inline int __popc(unsigned v) {
    return __builtin_popcount(v);
}
inline void __syncwarp() {
    emulated::exchange(0);
}
inline unsigned __match_any_sync(unsigned, int value) {
    const std::uint64_t* all = emulated::exchange(static_cast<std::uint32_t>(value));
    unsigned same = 0;
    for (int i = 0; i < emulated::kLanes; i++)
        same |= (all[i] == static_cast<std::uint32_t>(value) ? 1u : 0u) << i;
    return same;
}
inline std::uint32_t __shfl_up_sync(unsigned, std::uint32_t value, int by) {
    const int lane = emulated::warp->now;
    const std::uint64_t* all = emulated::exchange(value);
    return lane < by ? value : static_cast<std::uint32_t>(all[lane - by]);
}
inline std::uint32_t __ldg(const std::uint32_t* at) {
    return *at;
}
inline std::uint32_t __funnelshift_r(std::uint32_t low, std::uint32_t high, std::uint32_t by) {
    return by % 32 == 0 ? low : low >> by % 32 | high << (32 - by % 32);
}
inline std::uint32_t __funnelshift_l(std::uint32_t low, std::uint32_t high, std::uint32_t by) {
    return by % 32 == 0 ? high : high << by % 32 | low >> (32 - by % 32);
}
// Four of the bytes of `low` and `high`, as the nibbles of `which` say.
inline std::uint32_t __byte_perm(std::uint32_t low, std::uint32_t high, std::uint32_t which) {
    const std::uint64_t all = static_cast<std::uint64_t>(high) << 32 | low;
    std::uint32_t found = 0;
    for (int i = 0; i < 4; i++)
        found |= static_cast<std::uint32_t>(all >> (8 * (which >> 4 * i & 7)) & 255) << 8 * i;
    return found;
}
