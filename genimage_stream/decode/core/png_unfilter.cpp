#include "png_unfilter.hpp"

#include <cstdlib>

namespace gs::png {
namespace {

// Section 9.4 of the specification; ties go to a, then b.
int paeth(int a, int b, int c) {
    const int p = a + b - c;
    const int pa = std::abs(p - a), pb = std::abs(p - b), pc = std::abs(p - c);
    return pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
}

void unfilter_row(int filter, std::uint8_t* row, const std::uint8_t* above, std::size_t size,
                  std::size_t distance) {
    for (std::size_t i = 0; i < size; i++) {
        const int a = i >= distance ? row[i - distance] : 0, b = above[i];
        const int c = i >= distance ? above[i - distance] : 0;
        int predicted = 0;
        if (filter == kSub) predicted = a;
        if (filter == kUp) predicted = b;
        if (filter == kAverage) predicted = (a + b) / 2;
        if (filter == kPaeth) predicted = paeth(a, b, c);
        row[i] = static_cast<std::uint8_t>(row[i] + predicted);
    }
}

}  // namespace

void unfilter_rows(std::uint8_t* rows, std::size_t stride, int count, const std::uint8_t* above,
                   std::size_t size_bytes, int distance) {
    for (int y = 0; y < count; y++, rows += stride) {
        unfilter_row(rows[0], rows + 1, above, size_bytes, static_cast<std::size_t>(distance));
        above = rows + 1;
    }
}

}  // namespace gs::png
