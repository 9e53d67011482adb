#include "batch/transformed.hpp"

#include <algorithm>
#include <optional>
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
    const std::vector<transform::Plan>& plans;
    ~ReleaseLarge() {
        const auto large = [](const Rect& held) {
            return std::int64_t{held.width} * held.height > kKeptPixels;
        };
        const bool any = std::any_of(plans.begin(), plans.end(), [&](const transform::Plan& plan) {
            return std::any_of(plan.needed.begin(), plan.needed.end(), large);
        });
        if (any) runner.release();
    }
};

// The smallest rectangle that holds both.
Rect around(const Rect& a, const Rect& b) {
    const int x = std::min(a.x, b.x), y = std::min(a.y, b.y);
    return {x, y, std::max(a.x + a.width, b.x + b.width) - x, std::max(a.y + a.height, b.y + b.height) - y};
}

transform::Plan planned(const transform::Steps& steps, transform::Size size, Size window) {
    transform::Plan plan = transform::plan_steps(steps, size, nullptr);
    const transform::Size to = plan.sizes.back();
    if (to.width != window.width || to.height != window.height)
        throw DecodeError("the steps end with an image of " + text(to.width, to.height) + ", not " +
                          text(window.width, window.height));
    return plan;
}

// How many steps there are before those that act on normalised values.
std::size_t pixel_steps(const transform::Steps& steps) {
    std::size_t end = steps.size();
    while (end > 0 && dynamic_cast<const transform::FinishingStep*>(steps[end - 1].get())) end--;
    return end;
}

// The rectangle of the image.
transform::Part decoded_part(transform::Size size, const Rect& part, const Subject& subject,
                             const DecodeOptions& options, Workspace& workspace) {
    const auto canvas = transform::Canvas::in(workspace.pixels, part.width, part.height);
    CopyRows rows(canvas.rgb, part.width, static_cast<std::size_t>(canvas.stride));
    decode_part(subject, part, options, workspace, rows);
    return {size, part, canvas.rgb, canvas.stride};
}

// The first steps' result, and how many those are.
struct Begun {
    transform::Part part;
    std::size_t steps;
};

// Where the first step that does more than cut takes rows as they are decoded, nothing else keeps them.
std::optional<Begun> begin_with_rows(const transform::Steps& steps, const transform::Plan& plan,
                                     const Subject& subject, const DecodeOptions& options,
                                     Workspace& workspace, transform::Runner& runner) {
    const std::size_t i = transform::cuts_of(steps, plan);
    if (i == steps.size()) return std::nullopt;
    const Rect& window = plan.needed[i + 1];
    const auto taker = steps[i]->take_rows(plan.sizes[i], plan.needed[i], window, runner.scratch);
    if (!taker) return std::nullopt;
    decode_part(subject, plan.needed.front(), options, workspace, *taker);
    const auto canvas = transform::Canvas::in(workspace.pixels, window.width, window.height);
    taker->finish(canvas);
    return Begun{{plan.sizes[i + 1], window, canvas.rgb, canvas.stride}, i + 1};
}

}  // namespace

void render_transformed(const BatchPlan& plan, const Transformed& how, ByteView bytes,
                        ForeignDecoder* foreign, Workspace& workspace, LazyBytes* lazy) {
    thread_local transform::Runner runner;
    std::vector<transform::Plan> plans;
    plans.reserve(how.pictures.size());
    for (const transform::Steps& steps : how.pictures) plans.push_back(planned(steps, how.size, plan.window));
    if (plans.empty()) return;
    Rect part = plans.front().needed.front();
    for (const transform::Plan& one : plans) part = around(part, one.needed.front());
    const Subject subject(bytes, plan.options, foreign, workspace, kCopies);
    check_planned_size(subject.size, {how.size.width, how.size.height});
    const ReleaseLarge release{runner, plans};
    DecodeOptions options = plan.options;
    options.lazy = lazy;
    const std::optional<Begun> begun =
        plans.size() == 1 ? begin_with_rows(how.pictures[0], plans[0], subject, options, workspace, runner)
                          : std::nullopt;
    const transform::Part decoded =
        begun ? begun->part : decoded_part(how.size, part, subject, options, workspace);
    std::uint8_t* out = plan.out + plan.image_bytes() * static_cast<std::size_t>(how.first);
    for (std::size_t i = 0; i < plans.size(); i++, out += plan.image_bytes()) {
        const Rect& needed = plans[i].needed.front();
        const transform::Part in =
            begun ? begun->part
                  : transform::Part{how.size, needed, decoded.at(needed.x, needed.y), decoded.stride};
        const transform::Steps& steps = how.pictures[i];
        std::size_t end = pixel_steps(steps);
        const std::size_t begin = begun ? begun->steps : 0;
        const bool flip = end > begin && steps[end - 1]->only_mirrors();
        if (flip) end--;
        const transform::Part result = transform::run_some(steps, plans[i], begin, end, in, runner);
        PlanarSink sink(out, plan.element, plan.window.width, plan.window.height, flip, plan.normalizer);
        sink.rows(0, plan.window.height, result.rgb, result.stride);
        for (const auto& step : steps)
            if (const auto* finishing = dynamic_cast<const transform::FinishingStep*>(step.get()))
                finishing->finish(out, plan.element, plan.window.width, plan.window.height);
    }
}

}  // namespace gs
