#include "base/cpu.hpp"

#include <algorithm>
#include <atomic>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace gs {
namespace {

Simd machine() {
#if defined(__x86_64__)
    __builtin_cpu_init();  // clang needs it in a constructor of the library
    unsigned a = 0, b = 0, c = 0, d = 0;
    const bool f16c = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);  // clang 14 has no name for it below
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
        __builtin_cpu_supports("bmi2") && f16c) {
        const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                            __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                            __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vnni");
        return avx512 ? Simd::avx512 : Simd::avx2;
    }
    if (__builtin_cpu_supports("ssse3")) return Simd::ssse3;
#elif defined(__aarch64__)
    return Simd::neon;
#endif
    return Simd::plain;
}

// Found when the core is loaded, not at first use: the child of a fork in that moment would wait for the thread that
// was about to do it, forever.
std::atomic<int> current{static_cast<int>(machine())};

}  // namespace

Simd simd_level() {
    return static_cast<Simd>(current.load(std::memory_order_relaxed));
}

void set_simd_level(Simd level) {
    current.store(std::min(static_cast<int>(level), static_cast<int>(machine())));
}

}  // namespace gs
