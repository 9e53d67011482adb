// Steps that change colours, as Pillow's ImageEnhance and torchvision's ColorJitter do on 8-bit RGB.
#pragma once

#include <memory>

#include "transform/step.hpp"

namespace gs::transform {

// The gray of a colour in all three channels: Pillow's convert("L"), or OpenCV's, which rounds its weights to 15 bits.
enum class Gray { pillow, opencv };
std::shared_ptr<const Step> gray_step(Gray rule);

// Every value times `factor` plus `offset`, in single precision, clipped and truncated.
std::shared_ptr<const Step> linear_step(float factor, float offset);

// ImageEnhance's Brightness, Contrast and Color: Image.blend with black, with the mean of L (of the whole
// image) and with L.
std::shared_ptr<const Step> brightness_step(double factor);
std::shared_ptr<const Step> contrast_step(double factor);
std::shared_ptr<const Step> saturation_step(double factor);

// To Pillow's HSV, `shift` added to the hue modulo 256, and back.
std::shared_ptr<const Step> hue_step(std::uint8_t shift);

}  // namespace gs::transform
