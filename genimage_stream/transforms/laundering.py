"""Steps of robustness tests beside JPEG, blur and noise: WebP round trips, a centre crop resized back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from genimage_stream.decode import native
from genimage_stream.transforms import values
from genimage_stream.transforms.chance import Stream, Streams
from genimage_stream.transforms.geometry import FILTERS, PADDINGS, Filter
from genimage_stream.transforms.many import Sizes
from genimage_stream.transforms.step import CoreStep, Draw, ManyDrawn, Operation, Size


@dataclass(frozen=True)
class WebP(CoreStep):
    """Written as a lossy WebP and read again: the pixels of Pillow's `save(format="WEBP", quality=q)` + `open`.

    `quality`: 0 to 100, or (low, high) for a whole number between them, both included. WebP predicts from pixels that
    it has decoded before, so the whole image is needed, of at most 16383 pixels either way. Equal to the bit where
    Pillow has a libwebp that writes the same files (1.2.4 and 1.6.0 do). Draws `quality`.
    """

    quality: int | tuple[int, int] = 80

    def __post_init__(self) -> None:
        if isinstance(self.quality, (tuple, list)):
            values.pair(self, "quality", self.quality, 0, 100)
            values.put(self, quality=tuple(values.whole(self, "quality", end, 0, 100) for end in self.quality))
        else:
            values.put(self, quality=values.whole(self, "quality", self.quality, 0, 100))

    def choose(self, stream: Stream, size: Size) -> dict[str, Any]:
        return {"quality": stream.whole(*self.quality) if isinstance(self.quality, tuple) else self.quality}

    def operations(self, draw: Draw, size: Size) -> Sequence[Operation]:
        return [_webp(values.whole(self, "quality", draw["quality"], 0, 100))]

    def draw_many(self, streams: Streams, sizes: Sizes) -> ManyDrawn | None:
        if not isinstance(self.quality, tuple):
            return ManyDrawn([_webp(self.quality)] * len(sizes))
        return ManyDrawn([_webp(quality) for quality in streams.whole(*self.quality).tolist()])


@cache
def _webp(quality: int) -> native.Step:
    return native.webp_step(quality)


@dataclass(frozen=True)
class CenterZoom(CoreStep):
    """The middle of the image, `round(side * scale)` of each side, resized back to the image's size by Pillow.

    AEROBLADE's crop: torchvision's `center_crop`, then `resize`, on PIL images. Its scale is a 32-bit float, and so is
    ours in that product: 0.9 of 375 pixels are 337. Draws `x`, `y`, `width`, `height`.
    """

    scale: float
    filter: Filter = "bilinear"

    def __post_init__(self) -> None:
        values.put(self, scale=values.number(self, "scale", self.scale, 1e-3, 1.0))
        values.one_of(self, "filter", self.filter, tuple(FILTERS))

    def choose(self, stream: Stream, size: Size) -> dict[str, Any]:
        return self._box(size)

    def _box(self, size: Size) -> dict[str, Any]:
        scale = float(np.float32(self.scale))
        width, height = (max(1, round(side * scale)) for side in size)
        x, y = round((size.width - width) / 2), round((size.height - height) / 2)
        return {"x": x, "y": y, "width": width, "height": height}

    def operations(self, draw: Draw, size: Size) -> Sequence[Operation]:
        box = (draw["x"], draw["y"], draw["width"], draw["height"])
        return [
            native.crop_step(box, PADDINGS["zeros"]),
            native.resize_step(size.width, size.height, FILTERS[self.filter]),
        ]

    def draw_many(self, streams: Streams, sizes: Sizes) -> ManyDrawn | None:
        many = (Size(*size) for size in sizes.tolist())
        return ManyDrawn([self.operations(self._box(size), size) for size in many])
