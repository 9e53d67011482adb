// The vector paths of output.cpp, chosen at run time.
#pragma once

#include "base/cpu.hpp"
#include "image/output.hpp"

namespace gs {

// nullptr: there is none for this case, take the plain one.
StoreRow choose_simd_store(Element element, bool flip, int width, Simd level, bool affine);

}  // namespace gs
