// Steps that act on normalised values: rectangles of a finished image set to zero, or to normal noise.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "base/types.hpp"
#include "image/output.hpp"
#include "transform/philox.hpp"
#include "transform/step.hpp"

namespace gs::transform {

// Comes last in a list of steps and leaves pixels as they are; whoever has normalised them calls finish().
class FinishingStep : public Step {
  public:
    Rect needs(Size, const Rect& window) const final { return window; }
    bool passes(Size, const Rect&) const final { return true; }
    void run(const Part&, const Rect&, const Canvas&, Scratch&) const final {}

    // `planes` has three planes of height x width values, f16 or f32; throws std::invalid_argument for u8.
    virtual void finish(std::uint8_t* planes, Element element, int width, int height) const = 0;
};

// `rects`, as far as they lie inside the image, become standard normal values by the rule of noise.hpp, or zeros
// without a key.
std::shared_ptr<const FinishingStep> erase_step(std::vector<Rect> rects, std::optional<PhiloxKey> noise);

}  // namespace gs::transform
