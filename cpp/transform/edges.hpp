// A part of an image, continued beyond the image's edges by mirroring: what filters of a fixed reach work on.
#pragma once

#include <cstring>

#include "transform/step.hpp"

namespace gs::transform {

// Place i of a side of `size` pixels that is mirrored at its ends, the end pixel repeated (dcba|abcd|dcba).
inline int mirror_with_edge(int i, int size) {
    const int period = 2 * size;
    const int at = (i % period + period) % period;
    return at < size ? at : period - 1 - at;
}

// The end pixel not repeated (dcb|abcd|cba).
inline int mirror_without_edge(int i, int size) {
    if (size == 1) return 0;
    const int period = 2 * size - 2;
    const int at = (i % period + period) % period;
    return at < size ? at : period - at;
}

// Pixels -reach .. width + reach - 1 of a window's row, copied together. `to` has room for
// that and kRowSlack.
template <typename Mirror>
void continue_row(const Part& in, const std::uint8_t* held_row, int x, int width, int reach, Mirror mirror,
                  std::uint8_t* to) {
    for (int i = -reach; i < width + reach; i++, to += 3) {
        const int at = x + i;
        if (at >= 0 && at < in.whole.width) {  // a run of pixels as they are
            const int run = std::min(in.whole.width - at, width + reach - i);
            std::memcpy(to, held_row + 3 * (at - in.held.x), std::size_t{3} * static_cast<std::size_t>(run));
            i += run - 1;
            to += 3 * (run - 1);
        } else {
            std::memcpy(to, held_row + 3 * (mirror(at, in.whole.width) - in.held.x), 3);
        }
    }
}

// The input that a filter of this reach needs; mirrored pixels included.
template <typename Mirror>
Rect reach_of(Size in, const Rect& window, int reach_x, int reach_y, Mirror mirror) {
    const auto span = [&](int first, int count, int reach, int size, int& begin, int& length) {
        int low = std::max(first - reach, 0), high = std::min(first + count + reach, size) - 1;
        for (int i = first - reach; i < 0; i++) high = std::max(high, mirror(i, size));
        for (int i = size; i < first + count + reach; i++) low = std::min(low, mirror(i, size));
        begin = low;
        length = high - low + 1;
    };
    Rect rect;
    span(window.x, window.width, reach_x, in.width, rect.x, rect.width);
    span(window.y, window.height, reach_y, in.height, rect.y, rect.height);
    return rect;
}

}  // namespace gs::transform
