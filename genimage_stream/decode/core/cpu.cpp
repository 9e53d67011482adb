#include "cpu.hpp"

#include <algorithm>
#include <atomic>

namespace gs {
namespace {

Simd machine() {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c"))
        return Simd::avx2;
    if (__builtin_cpu_supports("ssse3")) return Simd::ssse3;
#endif
    return Simd::plain;
}

std::atomic<int>& current() {
    static std::atomic<int> level{static_cast<int>(machine())};
    return level;
}

}  // namespace

Simd simd_level() {
    return static_cast<Simd>(current().load(std::memory_order_relaxed));
}

void set_simd_level(Simd level) {
    current().store(std::min(static_cast<int>(level), static_cast<int>(machine())));
}

}  // namespace gs
