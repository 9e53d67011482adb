#include "png/png_passes.hpp"

#include <algorithm>

namespace gs::png {

Passes::Passes(const Header& header) : pass{}, count(header.interlaced ? 7 : 1) {
    static constexpr int kAdam7[7][4] = {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4},
                                         {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}};
    std::size_t offset = 0;
    for (int i = 0; i < count; i++) {
        Pass& p = pass[i];
        p.x0 = header.interlaced ? kAdam7[i][0] : 0;
        p.y0 = header.interlaced ? kAdam7[i][1] : 0;
        p.dx = header.interlaced ? kAdam7[i][2] : 1;
        p.dy = header.interlaced ? kAdam7[i][3] : 1;
        p.width = Pass::first_at(header.width, p.x0, p.dx);
        p.height = Pass::first_at(header.height, p.y0, p.dy);
        if (p.width == 0 || p.height == 0) p.width = p.height = 0;
        p.stride = p.width > 0 ? 1 + header.row_bytes(p.width) : 0;
        p.offset = offset;
        offset += p.size();
    }
}

std::size_t Passes::bytes_down_to(int bottom) const {
    std::size_t bytes = 0;
    for (int i = 0; i < count; i++) {
        const Pass& p = pass[i];
        const int rows = std::min(p.height, Pass::first_at(bottom, p.y0, p.dy));
        if (rows > 0) bytes = p.offset + p.stride * static_cast<std::size_t>(rows);
    }
    return bytes;
}

}  // namespace gs::png
