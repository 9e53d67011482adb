// One image into its place of a batch: decode what is needed, resize, crop, extend, mirror, normalise.
#pragma once

#include <cstdint>
#include <vector>

#include "base/types.hpp"
#include "base/workspace.hpp"
#include "image/divert.hpp"
#include "image/output.hpp"
#include "image/smaller_than_window.hpp"
#include "image/subject.hpp"
#include "rows/resample.hpp"

namespace gs {

struct Point {
    int x;
    int y;
};

// A box of an image in fractions of pixels, as Pillow's Image.resize takes it.
struct Box {
    float x;
    float y;
    float width;
    float height;
};

// A batch. `crops` has one entry per image; `flips`, `boxes`, `resized` and `sizes` have as many or none.
struct BatchPlan {
    Size window{};  // at most 65535 either way
    Element element = Element::u8;
    std::uint8_t* out = nullptr;  // (n, 3, window.height, window.width), contiguous
    Normalizer normalizer;
    std::vector<Point> crops;
    std::vector<std::uint8_t> flips;
    std::vector<std::uint8_t> divert;  // 1: leave it to another decoder that takes it; 2: render it too
    std::vector<Box> boxes;            // default: the whole image
    std::vector<Size> resized;         // default: the window's size where there is a box, else the image's
    std::vector<Size> sizes;  // what the images must have, which their windows were planned for; or none
    Filter filter = Filter::bilinear;
    bool dct_scale = false;  // JPEGs that shrink to less than half: decoded at 1/2, 1/4 or 1/8 first
    Small small = Small::tile;
    std::uint8_t fill[3] = {0, 0, 0};
    DecodeOptions options;

    std::size_t image_bytes() const {
        return 3 * element_bytes(element) * static_cast<std::size_t>(window.width) *
               static_cast<std::size_t>(window.height);
    }
};

// Renders image `index` of the plan from its encoded bytes. Throws DecodeError; the image's place is then
// in an undefined state. `foreign` may be nullptr. With `diverted`, an image that another decoder takes
// is left to it: `diverted` holds its bytes, and nothing is rendered unless the plan asks for both.
// `lazy` as in DecodeOptions.
void render(const BatchPlan& plan, int index, ByteView bytes, ForeignDecoder* foreign, Workspace& workspace,
            Diverted* diverted, LazyBytes* lazy = nullptr);

}  // namespace gs
