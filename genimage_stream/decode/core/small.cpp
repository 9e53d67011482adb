#include "small.hpp"

#include <algorithm>
#include <cstring>

namespace gs {

int source_of(int at, int size, Small policy) {
    if (at < size) return at;
    if (policy == Small::constant) return -1;
    if (policy != Small::reflect) return at % size;
    if (size == 1) return 0;
    const int period = 2 * (size - 1);
    const int phase = at % period;
    return phase < size ? phase : period - phase;
}

Size covering_size(Size image, Size window) {
    if (image.width >= window.width && image.height >= window.height) return image;
    // window.width / image.width against window.height / image.height, without fractions
    const std::int64_t by_width = std::int64_t{window.width} * image.height;
    const std::int64_t by_height = std::int64_t{window.height} * image.width;
    if (by_width >= by_height)
        return {window.width, std::max(window.height, static_cast<int>(by_width / image.width))};
    return {std::max(window.width, static_cast<int>(by_height / image.height)), window.height};
}

void extend_row(const std::uint8_t* row, int image_width, int x, int width, Small policy,
                const std::uint8_t fill[3], std::uint8_t* to) {
    int done = 0;
    if (policy == Small::tile || policy == Small::resize) {
        while (done < width) {
            const int from = (x + done) % image_width;
            const int run = std::min(image_width - from, width - done);
            std::memcpy(to + 3 * done, row + 3 * from, static_cast<std::size_t>(3 * run));
            done += run;
        }
        return;
    }
    if (x < image_width) {
        done = std::min(width, image_width - x);
        std::memcpy(to, row + 3 * x, static_cast<std::size_t>(3 * done));
    }
    for (; done < width; done++) {
        const int from = source_of(x + done, image_width, policy);
        const std::uint8_t* pixel = from < 0 ? fill : row + 3 * from;
        for (int c = 0; c < 3; c++) to[3 * done + c] = pixel[c];
    }
}

}  // namespace gs
