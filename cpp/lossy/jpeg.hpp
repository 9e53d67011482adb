// What is left of an image after it was written as a JPEG and read again.
//
// Entropy coding is lossless, so it is omitted: pixels go through colour conversion, chroma downsampling,
// the forward DCT, the quantiser and all the way back. Bit for bit the pixels of libjpeg-turbo with its
// accurate DCT and triangle upsampling, and therefore of Pillow's save(quality=...) + open and of cv2's
// imencode + imdecode.
#pragma once

#include <memory>

#include "transform/step.hpp"

namespace gs::transform {

enum class Chroma : std::uint8_t { c420, c422, c444 };

// `quality` 1..100. `swapped`: red and blue change places for the codec, as albumentations'
// ImageCompression has it.
std::shared_ptr<const Step> jpeg_step(int quality, Chroma chroma, bool swapped);

}  // namespace gs::transform
