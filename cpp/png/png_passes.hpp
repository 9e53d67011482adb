// The passes of an image: one for a plain PNG, seven for an interlaced one (Adam7, section 8.2
// of the specification).
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/types.hpp"
#include "png/png_container.hpp"

namespace gs::png {

// A smaller image whose pixel (i, j) is pixel (x0 + i * dx, y0 + j * dy) of the whole.
struct Pass {
    int x0, y0, dx, dy;
    int width, height;   // in pixels of the pass; 0 when the pass is empty
    std::size_t stride;  // bytes of a filtered row, filter byte included
    std::size_t offset;  // of the pass in the decompressed data
    std::size_t size() const { return stride * static_cast<std::size_t>(height); }

    // The pass's pixels within [begin, end) of the image, as [first, last) of the pass.
    static int first_at(int begin, int origin, int step) {
        return begin <= origin ? 0 : (begin - origin + step - 1) / step;
    }
};

struct Passes {
    Pass pass[7];
    int count;

    explicit Passes(const Header& header);
    std::size_t total_bytes() const { return pass[count - 1].offset + pass[count - 1].size(); }
    // How much of the decompressed data the rows above `bottom` (of the image) need.
    std::size_t bytes_down_to(int bottom) const;
};

}  // namespace gs::png
