#include "transform/run.hpp"

#include <algorithm>

namespace gs::transform {

std::vector<Size> sizes_of(const Steps& steps, Size in) {
    std::vector<Size> sizes{in};
    for (const auto& step : steps) sizes.push_back(step->size(sizes.back()));
    return sizes;
}

Plan plan_steps(const Steps& steps, Size in, const Rect* window) {
    Plan plan;
    plan.sizes = sizes_of(steps, in);
    plan.needed.resize(plan.sizes.size());
    plan.needed.back() = window ? *window : all_of(plan.sizes.back());
    for (std::size_t i = steps.size(); i-- > 0;)
        plan.needed[i] = steps[i]->needs(plan.sizes[i], plan.needed[i + 1]);
    return plan;
}

Part run_steps(const Steps& steps, const Plan& plan, const Part& in, Runner& runner, const Canvas* out) {
    return run_some(steps, plan, 0, steps.size(), in, runner, out);
}

Part run_some(const Steps& steps, const Plan& plan, std::size_t begin, std::size_t end, const Part& in,
              Runner& runner, const Canvas* out) {
    Part part = in;
    int memory = 0;  // which of the two is free
    for (std::size_t i = begin; i < end; i++) {
        const Rect& window = plan.needed[i + 1];
        if (steps[i]->passes(plan.sizes[i], window)) {
            part = {plan.sizes[i + 1], window, part.rgb, part.stride};
            continue;
        }
        const bool to_out = out != nullptr && i + 1 == end && steps[i]->keeps_to_rows();
        const Canvas canvas = to_out ? *out : Canvas::in(runner.images[memory], window.width, window.height);
        steps[i]->run(part, window, canvas, runner.scratch);
        part = {plan.sizes[i + 1], window, canvas.rgb, canvas.stride};
        memory = 1 - memory;
    }
    return part;
}

std::size_t cuts_of(const Steps& steps, const Plan& plan) {
    std::size_t i = 0;
    while (i < steps.size() && steps[i]->passes(plan.sizes[i], plan.needed[i + 1])) i++;
    return i;
}

bool keep_to_rows(const Steps& steps) {
    return std::all_of(steps.begin(), steps.end(), [](const auto& step) { return step->keeps_to_rows(); });
}

}  // namespace gs::transform
