"""Steps that change colours, and noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from genimage_stream.decode import native
from genimage_stream.transforms import values
from genimage_stream.transforms.chance import Stream, Streams, halves
from genimage_stream.transforms.many import Sizes
from genimage_stream.transforms.step import CoreStep, Draw, ManyDrawn, Operation, Size


@dataclass(frozen=True)
class GaussianNoise(CoreStep):
    """Gaussian noise added to each value, clipped and rounded to the nearest whole number (half to even).

    `sigma` and `mean` are in units of the full range, as torchvision's: 0.1 is 25.5 levels. `sigma`: a number, or
    (low, high). `var_limit` in its place: (low, high) of the variance in squared levels, as albumentations 1's. The
    field of normal numbers follows our own rule (cpp/transform/noise.hpp); other libraries' noise is equal in
    distribution only. Draws `sigma` and `key`, 16 hex digits that give the field.
    """

    sigma: float | tuple[float, float] | None = None
    mean: float = 0.0
    var_limit: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.var_limit is not None:
            if self.sigma is not None:
                raise self.wrong("sigma", self.sigma, "either sigma or var_limit is needed")
            values.put(self, var_limit=values.pair(self, "var_limit", self.var_limit, 0.0, 1e6))
        else:
            sigma = 0.1 if self.sigma is None else self.sigma
            values.put(self, sigma=values.number_or_pair(self, "sigma", sigma, 0.0, 10.0))
        values.put(self, mean=values.number(self, "mean", self.mean, -1.0, 1.0))

    def choose(self, stream: Stream, size: Size) -> dict[str, Any]:
        if self.var_limit is not None:
            sigma = math.sqrt(stream.uniform(*self.var_limit)) / 255
        else:
            sigma = stream.uniform(*values.bounds(self.sigma or 0.0))
        return {"sigma": sigma, "key": stream.key()}

    def operations(self, draw: Draw, size: Size) -> Sequence[Operation]:
        return [native.noise_step(halves(draw["key"]), self.mean * 255, draw["sigma"] * 255)]

    def draw_many(self, streams: Streams, sizes: Sizes) -> ManyDrawn | None:
        if self.var_limit is not None:
            drawn = np.sqrt(streams.uniform(*self.var_limit)) / 255
        else:
            drawn = streams.uniform(*values.bounds(self.sigma or 0.0))
        sigmas = (drawn * 255).tolist()
        keys = zip(streams.words().tolist(), streams.words().tolist(), strict=True)
        mean = self.mean * 255
        return ManyDrawn([native.noise_step(key, mean, sigma) for key, sigma in zip(keys, sigmas, strict=True)])


@dataclass(frozen=True)
class RandomGrayscale(CoreStep):
    """The gray of each colour in all three channels, with probability `p`.

    `like="pillow"`: `convert("L")`, as torchvision on PIL images; "cv2": `cv2.COLOR_RGB2GRAY`, as albumentations'.
    """

    p: float = 0.1
    like: Literal["pillow", "cv2"] = "pillow"

    def __post_init__(self) -> None:
        values.put(self, p=values.probability(self, self.p))
        values.one_of(self, "like", self.like, ("pillow", "cv2"))

    def choose(self, stream: Stream, size: Size) -> dict[str, Any]:
        return {"applied": stream.happens(self.p)}

    def operations(self, draw: Draw, size: Size) -> Sequence[Operation]:
        return [native.gray_step(self.like == "cv2")]

    def draw_many(self, streams: Streams, sizes: Sizes) -> ManyDrawn | None:
        gray = self.operations({}, Size(1, 1))
        return ManyDrawn([gray if happens else () for happens in streams.happens(self.p).tolist()])


_JITTER = ("brightness", "contrast", "saturation", "hue")
Jitter = float | tuple[float, float]


@dataclass(frozen=True)
class ColorJitter(CoreStep):
    """Brightness, contrast, saturation and hue by random factors in random order, as torchvision's on PIL images.

    Brightness, contrast, saturation: d for (max(0, 1 - d), 1 + d), or (low, high). Hue: d for (-d, d), or (low, high),
    within -0.5 to 0.5. A factor of 0 is omitted. Draws `order` (numbers of the four, in this order) and the factors.
    """

    brightness: Jitter = 0.0
    contrast: Jitter = 0.0
    saturation: Jitter = 0.0
    hue: Jitter = 0.0

    def __post_init__(self) -> None:
        for name in _JITTER[:3]:
            values.put(self, **{name: values.number_or_pair(self, name, getattr(self, name), 0.0, 1e3)})
        low = -0.5 if isinstance(self.hue, (tuple, list)) else 0.0
        values.put(self, hue=values.number_or_pair(self, "hue", self.hue, low, 0.5))

    def _range(self, name: str) -> tuple[float, float] | None:
        value = getattr(self, name)
        centre = 0.0 if name == "hue" else 1.0
        if not isinstance(value, tuple):
            value = (-value, value) if name == "hue" else (max(0.0, 1.0 - value), 1.0 + value)
        return None if value[0] == value[1] == centre else value

    def choose(self, stream: Stream, size: Size) -> dict[str, Any]:
        drawn: dict[str, Any] = {"order": stream.order(4)}
        for name in _JITTER:
            ends = self._range(name)
            drawn[name] = None if ends is None else stream.uniform(*ends)
        return drawn

    def operations(self, draw: Draw, size: Size) -> Sequence[Operation]:
        made: list[Operation] = []
        for which in draw["order"]:
            factor = draw[_JITTER[which]]
            if factor is None:
                continue
            if which == 3:
                made.append(native.hue_step(int(factor * 255) % 256))
            else:
                make = (native.brightness_step, native.contrast_step, native.saturation_step)[which]
                made.append(make(factor))
        return made

    def draw_many(self, streams: Streams, sizes: Sizes) -> ManyDrawn | None:
        drawn: dict[str, list[Any]] = {"order": streams.orders(4).tolist()}
        for name in _JITTER:
            ends = self._range(name)
            drawn[name] = [None] * len(sizes) if ends is None else streams.uniform(*ends).tolist()
        draws = (dict(zip(drawn, one, strict=True)) for one in zip(*drawn.values(), strict=True))
        return ManyDrawn([self.operations(draw, Size(1, 1)) for draw in draws])


@dataclass(frozen=True)
class RandomBrightnessContrast(CoreStep):
    """Values times (1 + contrast), plus brightness * 255, with probability `p`, as albumentations 2's on 8-bit images.

    Both are drawn from their limits: d for (-d, d), or (low, high). The sums are truncated. Draws `brightness`,
    `contrast`.
    """

    brightness_limit: float | tuple[float, float] = (-0.2, 0.2)
    contrast_limit: float | tuple[float, float] = (-0.2, 0.2)
    p: float = 0.5

    def __post_init__(self) -> None:
        for name in ("brightness_limit", "contrast_limit"):
            value = getattr(self, name)
            low = -10.0 if isinstance(value, (tuple, list)) else 0.0
            values.put(self, **{name: values.number_or_pair(self, name, value, low, 10.0)})
        values.put(self, p=values.probability(self, self.p))

    def choose(self, stream: Stream, size: Size) -> dict[str, Any]:
        drawn: dict[str, Any] = {"applied": stream.happens(self.p)}
        for name in ("brightness", "contrast"):
            limit = getattr(self, f"{name}_limit")
            low, high = limit if isinstance(limit, tuple) else (-limit, limit)
            drawn[name] = stream.uniform(low, high)
        return drawn

    def operations(self, draw: Draw, size: Size) -> Sequence[Operation]:
        return [native.linear_step(*_linear(draw["brightness"], draw["contrast"]))]

    def draw_many(self, streams: Streams, sizes: Sizes) -> ManyDrawn | None:
        made: list[Any] = [()] * len(sizes)
        which = np.flatnonzero(streams.happens(self.p))
        if len(which):
            streams = streams.only(which)
            brightness, contrast = (
                streams.uniform(*(limit if isinstance(limit, tuple) else (-limit, limit)))
                for limit in (self.brightness_limit, self.contrast_limit)
            )
            for i, *pair in zip(which.tolist(), brightness.tolist(), contrast.tolist(), strict=True):
                made[i] = native.linear_step(*_linear(*pair))
        return ManyDrawn(made)


def _linear(brightness: float, contrast: float) -> tuple[float, float]:
    """What 8-bit values are multiplied with, and what is added."""
    return 1.0 + contrast, brightness * 255
