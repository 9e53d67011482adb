// Which vector instructions this process may use: asked once, and settable by tests that compare the paths.
#pragma once

namespace gs {

// On AArch64 NEON is there always, and the one level above plain.
// avx2 includes FMA, F16C, BMI 1 and 2; avx512 F, BW, DQ, VL, VBMI and VNNI: Ice Lake, Zen 4 and later.
enum class Simd : int { plain = 0, ssse3 = 1, neon = 1, avx2 = 2, avx512 = 3 };

// The best level of this machine, or the lower one that was set.
Simd simd_level();
// Lowers the level (never above the machine's) for everything that starts afterwards; for tests.
void set_simd_level(Simd level);

}  // namespace gs
