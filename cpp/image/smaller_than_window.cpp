#include "image/smaller_than_window.hpp"

#include <algorithm>
#include <cstring>

namespace gs {

int source_of(std::int64_t at, int size, Small policy) {
    if (at < size) return static_cast<int>(at);
    if (policy == Small::constant) return -1;
    if (policy != Small::reflect) return static_cast<int>(at % size);
    if (size == 1) return 0;
    const std::int64_t period = std::int64_t{2} * (size - 1);
    const std::int64_t phase = at % period;
    return static_cast<int>(phase < size ? phase : period - phase);
}

WideSize covering_size(Size image, Size window) {
    if (image.width >= window.width && image.height >= window.height) return {image.width, image.height};
    // window.width / image.width against window.height / image.height, without fractions
    const std::int64_t by_width = std::int64_t{window.width} * image.height;
    const std::int64_t by_height = std::int64_t{window.height} * image.width;
    if (by_width >= by_height)
        return {window.width, std::max<std::int64_t>(window.height, by_width / image.width)};
    return {std::max<std::int64_t>(window.width, by_height / image.height), window.height};
}

void extend_row(const std::uint8_t* row, int image_width, int x, int width, Small policy,
                const std::uint8_t fill[3], std::uint8_t* to) {
    int done = 0;
    if (policy == Small::tile || policy == Small::resize) {
        for (int from = x % image_width; done < width; from = 0) {
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
        const int from = source_of(std::int64_t{x} + done, image_width, policy);
        const std::uint8_t* pixel = from < 0 ? fill : row + 3 * from;
        for (int c = 0; c < 3; c++) to[3 * done + c] = pixel[c];
    }
}

}  // namespace gs
