// Gaussian blur as three libraries compute it for 8-bit images. The caller hands over the kernels: they are
// the libraries' own, and a last bit of a weight can move a pixel.
#pragma once

#include <memory>
#include <vector>

#include "transform/step.hpp"

namespace gs::transform {

// scipy.ndimage.gaussian_filter(c, output=c, sigma) of each channel c. `weights`: the centre's, then
// those of both neighbours 1, 2, ... pixels away. Rows, then columns; each pass sums in double precision,
// from the centre and then from the farthest pair inwards, and truncates to 8 bits; edges are mirrored
// with the edge pixel.
std::shared_ptr<const Step> scipy_blur_step(std::vector<double> weights);

// cv2.GaussianBlur: `across` and `down` are symmetric kernels of odd length in 1/256 that sum to 256. No
// rounding between the directions, one at the end; edges are mirrored without the edge pixel.
std::shared_ptr<const Step> cv2_blur_step(std::vector<int> across, std::vector<int> down);

// torchvision's gaussian_blur: `kernel` has height * width float weights, rows first, both sides odd. Sums in
// single precision with fused multiply-adds, in the kernel's order; rounded half to even; edges as cv2's.
std::shared_ptr<const Step> torch_blur_step(std::vector<float> kernel, int width, int height);

}  // namespace gs::transform
