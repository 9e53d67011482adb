// Runs a list of steps on a window: the plan goes backwards from the window, the pixels forwards.
#pragma once

#include <memory>
#include <vector>

#include "transform/step.hpp"

namespace gs::transform {

using Steps = std::vector<std::shared_ptr<const Step>>;

struct Plan {
    std::vector<Size> sizes;   // [i]: of the whole image that reaches step i; the last one is the result's
    std::vector<Rect> needed;  // [i]: the rectangle of that image that has to be there
};

// The sizes alone. Throws std::invalid_argument when a step cannot take its input.
std::vector<Size> sizes_of(const Steps& steps, Size in);
// `window` lies inside the result, or everything is wanted where it is nullptr.
Plan plan_steps(const Steps& steps, Size in, const Rect* window);

// What a thread keeps.
struct Runner {
    Buffer images[2];
    Scratch scratch;

    void release() {
        for (Buffer* buffer :
             {&images[0], &images[1], &scratch.a, &scratch.b, &scratch.c, &scratch.d, &scratch.e})
            buffer->release();
    }
};

// `in` holds plan.needed[0], in rows that kRowSlack bytes may be read beyond. The result, plan.needed.back()
// of the last image, lies in the runner's memory, or in `in` where no step changes a pixel; or in `out`, if
// there is one and the last step can do without slack.
Part run_steps(const Steps& steps, const Plan& plan, const Part& in, Runner& runner,
               const Canvas* out = nullptr);

// Steps begin .. end - 1 alone: `in` holds plan.needed[begin], and the result is plan.needed[end].
Part run_some(const Steps& steps, const Plan& plan, std::size_t begin, std::size_t end, const Part& in,
              Runner& runner, const Canvas* out = nullptr);

// The number of steps at the start that only cut.
std::size_t cuts_of(const Steps& steps, const Plan& plan);

// Whether all steps keep to their rows: then `in` needs no slack.
bool keep_to_rows(const Steps& steps);

}  // namespace gs::transform
