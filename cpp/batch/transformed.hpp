// One image, decoded once, through lists of steps into its places of a batch.
#pragma once

#include "image/render.hpp"
#include "transform/run.hpp"

namespace gs {

// What becomes of one image: for each picture that is made of it, the steps with the values drawn for it. They
// were planned for an image of `size`. The pictures lie next to each other in the output, from place `first` on.
struct Transformed {
    transform::Size size;
    std::vector<transform::Steps> pictures;
    int first = 0;
};

// As render(), with steps in place of the plan's crop, flip, box and size: decodes the smallest rectangle that
// holds all that the steps of the pictures need, runs them and normalises. Throws DecodeError, and what the
// steps throw; the places are then in an undefined state.
void render_transformed(const BatchPlan& plan, const Transformed& how, ByteView bytes,
                        ForeignDecoder* foreign, Workspace& workspace, LazyBytes* lazy = nullptr);

}  // namespace gs
