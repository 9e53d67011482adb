"""Steps of robustness tests beside JPEG, blur and noise: WebP round trips, a centre crop resized back."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from genimage_stream.decode import _core
from genimage_stream.transforms import values
from genimage_stream.transforms.chance import Stream
from genimage_stream.transforms.geometry import FILTERS, PADDINGS, Filter
from genimage_stream.transforms.step import CoreStep, Draw, Hook, Image, Operation, Size


@dataclass(frozen=True)
class WebP(CoreStep):
    """Written as a lossy WebP and read again, by Pillow: `save(format="WEBP", quality=q)` + `open`.

    `quality`: 0 to 100, or (low, high) for a whole number between them, both included. WebP predicts from pixels that
    it has decoded before, so the whole image is needed, and Pillow: ImportError without it. Draws `quality`.
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
        quality = values.whole(self, "quality", draw["quality"], 0, 100)
        if max(size) > 16383:
            raise ValueError(
                f"an image of {size.width}x{size.height} is too large for WebP, which ends at 16383 pixels"
            )
        return [Hook("WebP", partial(_webp, quality=quality))]


def _webp(image: Image, quality: int) -> Image:
    try:
        from PIL import Image as Pillow
    except ImportError as error:
        raise ImportError("WebP needs Pillow: pip install pillow") from error
    to = io.BytesIO()
    Pillow.fromarray(image).save(to, "WEBP", quality=quality)
    return np.asarray(Pillow.open(to).convert("RGB"))


@dataclass(frozen=True)
class CenterZoom(CoreStep):
    """The middle of the image, `round(side * scale)` of each side, resized back to the image's size by Pillow.

    AEROBLADE's crop: torchvision's `center_crop`, then `resize`, on PIL images. Draws `x`, `y`, `width`, `height`.
    """

    scale: float
    filter: Filter = "bilinear"

    def __post_init__(self) -> None:
        values.put(self, scale=values.number(self, "scale", self.scale, 1e-3, 1.0))
        values.one_of(self, "filter", self.filter, tuple(FILTERS))

    def choose(self, stream: Stream, size: Size) -> dict[str, Any]:
        width, height = (max(1, round(side * self.scale)) for side in size)
        x, y = round((size.width - width) / 2), round((size.height - height) / 2)
        return {"x": x, "y": y, "width": width, "height": height}

    def operations(self, draw: Draw, size: Size) -> Sequence[Operation]:
        box = (draw["x"], draw["y"], draw["width"], draw["height"])
        return [
            _core.crop_step(box, PADDINGS["zeros"]),
            _core.resize_step(size.width, size.height, FILTERS[self.filter]),
        ]
