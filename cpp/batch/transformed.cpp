#include "batch/transformed.hpp"

#include <algorithm>
#include <string>

#include "base/row_sinks.hpp"
#include "transform/erase.hpp"

namespace gs {
namespace {

std::string text(int width, int height) {
    return std::to_string(width) + "x" + std::to_string(height);
}

// Of the image, that the steps make: what they need of it, and two on the way. Scratch memory of a step is not
// counted.
constexpr int kCopies = 3;
constexpr std::int64_t kKeptPixels = std::int64_t{1} << 24;

// What steps need of memory is kept for the next image, unless it is uncommonly large.
struct ReleaseLarge {
    transform::Runner& runner;
    const transform::Plan& plan;
    ~ReleaseLarge() {
        const bool large = std::any_of(plan.needed.begin(), plan.needed.end(), [](const Rect& held) {
            return std::int64_t{held.width} * held.height > kKeptPixels;
        });
        if (large) runner.release();
    }
};

}  // namespace

void render_transformed(const BatchPlan& plan, int index, const Transformed& how, ByteView bytes,
                        ForeignDecoder* foreign, Workspace& workspace, LazyBytes* lazy) {
    thread_local transform::Runner runner;
    const transform::Plan steps = transform::plan_steps(how.steps, how.size, nullptr);
    const transform::Size to = steps.sizes.back();
    if (to.width != plan.window.width || to.height != plan.window.height)
        throw DecodeError("the steps end with an image of " + text(to.width, to.height) + ", not " +
                          text(plan.window.width, plan.window.height));
    const Subject subject(bytes, plan.options, foreign, workspace, kCopies);
    if (subject.size.width != how.size.width || subject.size.height != how.size.height)
        throw DecodeError("the image has " + text(subject.size.width, subject.size.height) +
                          " pixels, but the index says " + text(how.size.width, how.size.height));
    const ReleaseLarge release{runner, steps};
    const Rect& part = steps.needed.front();
    const auto canvas = transform::Canvas::in(workspace.pixels, part.width, part.height);
    DecodeOptions options = plan.options;
    options.lazy = lazy;
    CopyRows rows(canvas.rgb, part.width, static_cast<std::size_t>(canvas.stride));
    decode_part(subject, part, options, workspace, rows);
    const transform::Part result =
        transform::run_steps(how.steps, steps, {how.size, part, canvas.rgb, canvas.stride}, runner);
    PlanarSink sink(plan.out + plan.image_bytes() * static_cast<std::size_t>(index), plan.element, to.width,
                    to.height, false, plan.normalizer);
    sink.rows(0, to.height, result.rgb, result.stride);
    for (const auto& step : how.steps)
        if (const auto* finishing = dynamic_cast<const transform::FinishingStep*>(step.get()))
            finishing->finish(plan.out + plan.image_bytes() * static_cast<std::size_t>(index), plan.element,
                              to.width, to.height);
}

}  // namespace gs
