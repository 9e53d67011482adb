// What is left of an image after libwebp wrote it as a lossy WebP and read it again.
#pragma once

#include <memory>

#include "transform/step.hpp"

namespace gs::transform {

// `quality` 0..100; everything else as Pillow's save(format="WEBP", quality=q) has it: method 4, chroma 4:2:0. Two
// versions of libwebp may write different files. Needs the whole image, of at most 16383 pixels either way: blocks are
// predicted from those before.
std::shared_ptr<const Step> webp_step(int quality);

}  // namespace gs::transform
