#include "image/render.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "base/row_sinks.hpp"
#include "image/cost.hpp"

namespace gs {
namespace {

std::string text(WideSize size) {
    return std::to_string(size.width) + "x" + std::to_string(size.height);
}
std::string text(Size size) {
    return text(WideSize{size.width, size.height});
}

// The longest side that is resized, or resized to: the weights of an axis take 16 to 32 bytes per pixel of
// its longer end, which the limits on pixels and bytes say nothing of.
constexpr int kLongestResized = 1 << 20;

void check_resized_to(WideSize to) {
    if (to.width < 1 || to.height < 1 || to.width > kLongestResized || to.height > kLongestResized)
        throw DecodeError("an image cannot be resized to " + text(to) + ": 1 to " +
                          std::to_string(kLongestResized) + " either way");
}

// The stretch of an axis `size` long that a window of `length` at `at` needs: the window itself, or all of an
// axis that is shorter. Length 0: the window leaves an axis that is not shorter.
struct Stretch {
    int at;
    int length;
};

Stretch stretch(int at, int length, int size) {
    if (at < 0) return {0, 0};
    if (size < length) return {0, size};
    if (at > size - length) return {0, 0};
    return {at, length};
}

// What an image is resized from and to. `needed` is false when nothing changes.
struct Resize {
    bool needed;
    float left, top, right, bottom;
    Size to;
    Filter filter;
};

Resize resize_of(const BatchPlan& plan, std::size_t i, Size image) {
    Resize r{false, 0,          0, static_cast<float>(image.width), static_cast<float>(image.height),
             image, plan.filter};
    if (!plan.boxes.empty()) {
        const Box& box = plan.boxes[i];
        r.left = box.x;
        r.top = box.y;
        // as Pillow sees a box given by its corners: the sum in double precision, rounded to float
        const float right = static_cast<float>(static_cast<double>(box.x) + box.width);
        const float bottom = static_cast<float>(static_cast<double>(box.y) + box.height);
        if (!(r.left >= 0 && r.top >= 0 && right <= r.right && bottom <= r.bottom))
            throw DecodeError("the box leaves the image of " + text(image));
        if (!(r.left < right && r.top < bottom)) throw DecodeError("the box is empty");
        r.right = right;
        r.bottom = bottom;
        r.to = plan.window;
    }
    if (!plan.resized.empty()) r.to = plan.resized[i];
    r.needed = !plan.boxes.empty() || !plan.resized.empty();
    if (r.needed) check_resized_to({r.to.width, r.to.height});
    if (plan.small == Small::resize) {
        const WideSize covering = covering_size(r.to, plan.window);
        if (covering.width != r.to.width || covering.height != r.to.height) {
            check_resized_to(covering);
            if (!r.needed) r.filter = Filter::bilinear;
            r.needed = true;
            r.to = {static_cast<int>(covering.width), static_cast<int>(covering.height)};
        }
    }
    if (r.needed && (r.right - r.left > kLongestResized || r.bottom - r.top > kLongestResized))
        throw DecodeError("more than " + std::to_string(kLongestResized) + " pixels either way of the " +
                          text(image) + " image are not resized: give a smaller box of it");
    return r;
}

// The part of the DCT that a resize needs: the largest of 8, 4 and 2 by which the box may shrink and still be
// no smaller than its result, as Pillow's Image.draft chooses it.
int dct_scale_of(const Resize& resize) {
    for (const int scale : {8, 4, 2})
        if ((resize.right - resize.left) / static_cast<float>(scale) >= static_cast<float>(resize.to.width) &&
            (resize.bottom - resize.top) / static_cast<float>(scale) >= static_cast<float>(resize.to.height))
            return scale;
    return 1;
}

// Resizes and delivers the part `region` of the result.
template <typename Sink>
void resize_part(const Subject& subject, const Resize& resize, const Rect& region,
                 const DecodeOptions& options, Workspace& workspace, Sink& sink) {
    Axis across, down;
    across.plan(resize.filter, subject.size.width, resize.left, resize.right, resize.to.width, region.x,
                region.width, workspace.across);
    down.plan(resize.filter, subject.size.height, resize.top, resize.bottom, resize.to.height, region.y,
              region.height, workspace.down);
    const Rect part{across.source_first(), down.source_first(), across.source_count(), down.source_count()};
    const auto height = static_cast<std::size_t>(part.height);
    if (across.identity() ||
        down_first(subject.size.width, subject.size.height, resize.to.width, resize.to.height)) {
        const std::size_t row_bytes = padded_row_bytes(part.width);
        std::uint8_t* rows =
            workspace.rows.reserve(row_bytes * (height + 1) + padded_row_bytes(region.width));
        std::uint8_t* const low = rows + row_bytes * height;
        std::uint8_t* const line = low + row_bytes;
        CopyRows keep(rows, part.width, row_bytes);
        decode_part(subject, part, options, workspace, keep);
        for (int y = 0; y < region.height; y++) {
            resample_down(down.output(y), rows, static_cast<std::ptrdiff_t>(row_bytes), 3 * part.width, low);
            if (!across.identity()) resample_across(across, low, line);
            sink.rows(y, 1, across.identity() ? low : line, 0);
        }
        return;
    }
    const std::size_t row_bytes = padded_row_bytes(region.width);
    std::uint8_t* rows = workspace.rows.reserve(row_bytes * (height + 1));
    std::uint8_t* const line = rows + row_bytes * height;
    AcrossSink narrow(across, rows);
    decode_part(subject, part, options, workspace, narrow);
    for (int y = 0; y < region.height; y++) {
        resample_down(down.output(y), rows, static_cast<std::ptrdiff_t>(row_bytes), 3 * region.width, line);
        sink.rows(y, 1, line, 0);
    }
}

// Delivers the window out of the part of a canvas that is smaller than it.
void extend(const BatchPlan& plan, Point at, const std::uint8_t* pixels, Size part, std::uint8_t* line,
            RowSink& sink) {
    const Size window = plan.window;
    const std::size_t row_bytes = std::size_t{3} * static_cast<std::size_t>(part.width);
    for (int y = 0; y < window.height; y++) {
        const int row =
            part.height == window.height ? y : source_of(std::int64_t{at.y} + y, part.height, plan.small);
        const std::uint8_t* from = line;
        if (row < 0) {
            for (int x = 0; x < window.width; x++) std::memcpy(line + std::size_t{3} * x, plan.fill, 3);
        } else {
            from = pixels + row_bytes * static_cast<std::size_t>(row);
            if (part.width != window.width) {
                extend_row(from, part.width, at.x, window.width, plan.small, plan.fill, line);
                from = line;
            }
        }
        sink.rows(y, 1, from, 0);
    }
}

}  // namespace

void render(const BatchPlan& plan, int index, ByteView bytes, ForeignDecoder* foreign, Workspace& workspace,
            Diverted* diverted, LazyBytes* lazy) {
    const auto i = static_cast<std::size_t>(index);
    const Size window = plan.window;
    const Point at = plan.crops[i];
    const bool flip = !plan.flips.empty() && plan.flips[i] != 0;
    PlanarSink sink(plan.out + plan.image_bytes() * i, plan.element, window.width, window.height, flip,
                    plan.normalizer);

    const bool resizes = !plan.boxes.empty() || !plan.resized.empty() || plan.small == Small::resize;
    Subject subject(bytes, plan.options, foreign, workspace, resizes ? 1 : 0);
    const ImageInfo& info = subject.info;
    const Size image = subject.size;
    if (!plan.sizes.empty()) check_planned_size(image, plan.sizes[i]);
    Resize resize = resize_of(plan, i, image);
    DecodeOptions options = plan.options;
    options.lazy = lazy;
    const Size canvas = resize.to;
    const Stretch across = stretch(at.x, window.width, canvas.width);
    const Stretch down = stretch(at.y, window.height, canvas.height);
    if (across.length == 0 || down.length == 0)
        throw DecodeError("the window of " + text(window) + " at (" + std::to_string(at.x) + ", " +
                          std::to_string(at.y) + ") leaves the image of " + text(canvas));
    const Rect region{across.at, down.at, across.length, down.length};
    const auto deliver = [&](auto& to) {
        if (resize.needed) return resize_part(subject, resize, region, options, workspace, to);
        decode_part(subject, region, options, workspace, to);
    };
    if (plan.dct_scale && resize.needed && info.format == Format::jpeg) {
        const int scale = dct_scale_of(resize);
        const auto by = static_cast<float>(scale);
        options.dct_scale = scale;
        subject.size = {(image.width + scale - 1) / scale, (image.height + scale - 1) / scale};
        resize = {true,      resize.left / by, resize.top / by, resize.right / by, resize.bottom / by,
                  resize.to, resize.filter};
    }
    if (region.width == window.width && region.height == window.height) {
        const bool leave = diverted && !resize.needed;
        if (leave && plan.divert[i] == 1 && divert_jpeg(bytes, info, region, *diverted)) return;
        deliver(sink);
        if (leave && plan.divert[i] == 2) divert_jpeg(bytes, info, region, *diverted);  // it is sound, then
        return;
    }

    const std::size_t part_bytes =
        std::size_t{3} * static_cast<std::size_t>(region.width) * static_cast<std::size_t>(region.height);
    std::uint8_t* pixels =
        workspace.pixels.reserve(part_bytes + std::size_t{3} * static_cast<std::size_t>(window.width));
    CopyRows collect(pixels, region.width, std::size_t{3} * static_cast<std::size_t>(region.width));
    deliver(collect);
    extend(plan, at, pixels, {region.width, region.height}, pixels + part_bytes, sink);
}

}  // namespace gs
