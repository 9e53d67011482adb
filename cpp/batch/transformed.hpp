// One image through a list of steps into its place of a batch.
#pragma once

#include "image/render.hpp"
#include "transform/run.hpp"

namespace gs {

// What becomes of one image: the steps with the values drawn for it. They were planned for an image of `size`.
struct Transformed {
    transform::Size size;
    transform::Steps steps;
};

// As render(), with steps in place of the plan's crop, flip, box and size: decodes the rectangle that the steps
// need, runs them and normalises. Throws DecodeError, and what the steps throw.
void render_transformed(const BatchPlan& plan, int index, const Transformed& how, ByteView bytes,
                        ForeignDecoder* foreign, Workspace& workspace, LazyBytes* lazy = nullptr);

}  // namespace gs
