// Steps of transforms: random lists of them on random images. A window is the slice of the whole result, every vector
// path gives the plain path's pixels, and a JPEG round trip is libjpeg's. An input is pixels, followed by parameters.
#include <numeric>
#include <stdexcept>

#include "pictures.hpp"
#include "steps.hpp"

namespace {

using namespace fuzz;
using Pixels = std::vector<std::uint8_t>;

struct Source {
    Size size;
    Pixels pixels;
};

Pixels run(const Source& source, const Steps& steps, const gs::Rect* window) {
    static Runner runner;
    const Plan plan = plan_steps(steps, source.size, window);
    const gs::Rect& from = plan.needed.front();
    const gs::Rect& to = plan.needed.back();
    FUZZ_CHECK(from.x >= 0 && from.y >= 0 && from.width > 0 && from.height > 0 &&
                   from.x + from.width <= source.size.width && from.y + from.height <= source.size.height,
               "a step needs what is outside of the image");
    // Of its own size, so that the sanitizer sees what reads beyond the rectangle and its slack.
    gs::Buffer memory;
    const Canvas canvas = Canvas::in(memory, from.width, from.height);
    for (int y = 0; y < from.height; y++)
        std::memcpy(canvas.row(y),
                    source.pixels.data() + std::size_t{3} * ((from.y + y) * source.size.width + from.x),
                    std::size_t{3} * from.width);
    const Part part = run_steps(steps, plan, {source.size, from, canvas.rgb, canvas.stride}, runner);
    Pixels out;
    for (int y = 0; y < to.height; y++)
        out.insert(out.end(), part.rgb + y * part.stride,
                   part.rgb + y * part.stride + std::ptrdiff_t{3} * to.width);
    return out;
}

// The same, where the first step takes rows as they are decoded: in pieces, some of them twice, from memory in which
// nothing may be read beyond a piece. Nothing where it does not.
Pixels run_by_rows(const Source& source, const Steps& steps, const gs::Rect& window, int piece, int again) {
    static Runner runner;
    const Plan plan = plan_steps(steps, source.size, &window);
    const std::size_t i = cuts_of(steps, plan);
    if (i == steps.size()) return {};
    const auto taker = steps[i]->take_rows(plan.sizes[i], plan.needed[i], plan.needed[i + 1], runner.scratch);
    if (!taker) return {};
    const gs::Rect& held = plan.needed.front();
    for (int y = 0; y < held.height; y += piece) {
        const int count = std::min(piece, held.height - y);
        const Pixels rows =
            fuzz::slice(source.pixels, source.size.width, {held.x, held.y + y, held.width, count});
        taker->rows(y, count, rows.data(), std::ptrdiff_t{3} * held.width);
        if (y < again && y + piece >= again) y -= std::min(y, 2 * piece), again = 0;
    }
    FUZZ_CHECK(taker->delivered() == held.height, "rows are missing");
    const gs::Rect& made = plan.needed[i + 1];
    gs::Buffer memory;
    const Canvas canvas = Canvas::in(memory, made.width, made.height);
    taker->finish(canvas);
    const Part part = run_some(steps, plan, i + 1, steps.size(),
                               {plan.sizes[i + 1], made, canvas.rgb, canvas.stride}, runner);
    Pixels out;
    for (int y = 0; y < window.height; y++)
        out.insert(out.end(), part.rgb + y * part.stride,
                   part.rgb + y * part.stride + std::ptrdiff_t{3} * window.width);
    return out;
}

Pixels through_libjpeg(const Source& source, int quality) {
    const auto [width, height] = source.size;
    const Bytes file = as_jpeg(source.pixels, width, height, 2, 2, quality, false);
    const auto pixels = fuzz::pixels_of({file.data(), file.size()}, {0, 0, width, height}, true);
    FUZZ_CHECK(pixels.has_value(), "what libjpeg wrote is refused");
    return *pixels;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Parameters p(data, size, std::min<std::size_t>(size, 160));
    Source source{{p.between(1, kLargest), p.between(1, kLargest)}, {}};
    source.pixels.resize(std::size_t{3} * source.size.width * source.size.height);
    const gs::ByteView given = p.image();
    std::uint32_t noise = 1 + static_cast<std::uint32_t>(p.word());
    const int amplitude = p.byte();
    for (std::size_t i = 0; i < source.pixels.size(); i++) {
        noise = noise * 1664525 + 1013904223;
        const int base = given.size ? given.data[i % given.size] : 128;
        source.pixels[i] = static_cast<std::uint8_t>(base + static_cast<int>(noise >> 24) * amplitude / 256);
    }
    const int quality = p.between(1, 100);
    FUZZ_CHECK(
        run(source, {jpeg_step(quality, Chroma::c420, false)}, nullptr) == through_libjpeg(source, quality),
        "a JPEG round trip is not libjpeg's");
    Steps steps;
    Size now = source.size;
    for (int i = p.between(0, 5); i > 0; i--) {
        Made step = any_step(p, now);
        now = step->size(now);
        steps.push_back(std::move(step));
    }
    const Pixels whole = run(source, steps, nullptr);
    gs::Rect window;
    window.width = p.between(1, now.width);
    window.height = p.between(1, now.height);
    window.x = p.between(0, now.width - window.width);
    window.y = p.between(0, now.height - window.height);
    FUZZ_CHECK(run(source, steps, &window) == fuzz::slice(whole, now.width, window),
               "a window differs from the slice of the whole");
    const Pixels by_rows = run_by_rows(source, steps, window, p.between(1, 12), p.between(0, kLargest));
    FUZZ_CHECK(by_rows.empty() || by_rows == fuzz::slice(whole, now.width, window),
               "a step makes other pixels of rows as they come");
    const gs::Simd level = static_cast<gs::Simd>(p.between(0, 2));
    if (level < gs::simd_level()) {
        FUZZ_CHECK(fuzz::at_level(level, [&] { return run(source, steps, nullptr); }) == whole,
                   "SIMD paths differ");
        FUZZ_CHECK(fuzz::at_level(level, [&] { return run(source, steps, &window); }) ==
                       fuzz::slice(whole, now.width, window),
                   "SIMD paths differ in a window");
    }
    return 0;
}
