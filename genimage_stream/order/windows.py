"""Which window of each image a batch shows: crop and flip, pure functions of the image's size and random words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from genimage_stream.decode.pixels import Small
from genimage_stream.order.philox import Words, below, units

Position = Literal["random", "center"]
Place = Literal["random", "center", "torchvision"]


@dataclass(frozen=True)
class Windows:
    """Windows of n images: `corners` int32 (n, 2), the top-left (x, y); `flips` uint8 (n,), 1 = mirrored; `sizes` int32
    (n, 2), the (width, height) of the images that they were chosen for."""

    corners: npt.NDArray[np.int32]
    flips: npt.NDArray[np.uint8]
    sizes: npt.NDArray[np.int32]

    def part(self, start: int, stop: int) -> Windows:
        return Windows(self.corners[start:stop], self.flips[start:stop], self.sizes[start:stop])


def windows(
    sizes: npt.NDArray[np.int64],
    words: Words,
    *,
    crop: tuple[int, int],
    position: Place,
    flip: float,
    small: Small,
) -> Windows:
    """The windows of `crop = (height, width)` in images of `sizes` (n, 2) (width, height), by random words (3, n): for
    x, y and the flip.

    `random`: every place within the image is as likely as any other; `center`: (size - crop) // 2, or "torchvision":
    round((size - crop) / 2), half to even. `flip` is the probability of mirroring. Along a side that
    is smaller than the crop the window starts at 0, where the image starts, and `small` says what lies beyond it; but
    with `tile` and `random` it starts anywhere on the canvas of as many whole tiles as cover the crop, as in NPR's
    training code. With `resize` the image is enlarged to the crop first, and sizes count after that.
    """
    height, width = crop
    extent = np.array([width, height], np.int64)
    canvas = sizes if small != "resize" else enlarged(sizes, crop)
    if small == "tile" and position == "random":
        canvas = np.where(canvas < extent, -(-extent // np.maximum(canvas, 1)) * canvas, canvas)
    room = np.maximum(canvas - extent, 0)  # how far the window can move
    if position == "random":
        corners = below(words[:2].T, room + 1)
    else:
        corners = room // 2 if position == "center" else np.rint(room / 2).astype(np.int64)
    flips = units(words[2]) < flip
    return Windows(np.ascontiguousarray(corners, np.int32), flips.astype(np.uint8), sizes.astype(np.int32))


def enlarged(sizes: npt.NDArray[np.int64], crop: tuple[int, int]) -> npt.NDArray[np.int64]:
    """Sizes after images smaller than the crop were enlarged by the larger of the two ratios, to just cover it.

    The same rule as the decoder's `covering_size`: the side that decides equals the crop's, the other is rounded down.
    """
    height, width = crop
    w, h = np.maximum(sizes[:, 0], 1), np.maximum(sizes[:, 1], 1)
    narrow = width * h >= height * w
    covering = np.stack(
        [
            np.where(narrow, width, np.maximum(width, height * w // h)),
            np.where(narrow, np.maximum(height, width * h // w), height),
        ],
        axis=1,
    )
    small = (w < width) | (h < height)
    return np.where(small[:, None], covering, sizes)
