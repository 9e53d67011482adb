"""Steps that take rectangles away, and steps that keep nothing but patches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from genimage_stream.decode import native
from genimage_stream.order.philox import below
from genimage_stream.transforms import values
from genimage_stream.transforms.chance import Stream, Streams, halves
from genimage_stream.transforms.geometry import FILTERS
from genimage_stream.transforms.many import Sizes
from genimage_stream.transforms.step import CoreStep, Draw, ManyDrawn, Operation, Size, Step

Colour = int | tuple[int, int, int]


def _colour(step: Step, name: str, value: Any) -> Colour:
    if not isinstance(value, (tuple, list)):
        return values.whole(step, name, value, 0, 255)
    if len(value) != 3:
        raise step.wrong(name, value, "one value, or three, is needed")
    red, green, blue = (values.whole(step, name, channel, 0, 255) for channel in value)
    return red, green, blue


def _fill(rects: Sequence[Sequence[int]], colour: Colour) -> native.Step:
    pixel = colour if isinstance(colour, tuple) else (colour,) * 3
    return native.fill_step([(x, y, width, height) for x, y, width, height in rects], pixel)


@dataclass(frozen=True)
class RandomErasing(CoreStep):
    """A rectangle of random area and aspect ratio filled with `value`, with probability `p`, as torchvision's.

    `value`: a level, or three. Ten tries to draw an area (a share of the image's) and a ratio (log-uniform) that fit;
    otherwise nothing is erased. `after_normalize` fills the normalised values, as timm does: with 0, or, by
    `value="random"`, with standard normal noise of each value (the rule of cpp/transform/noise.hpp; timm's is equal in
    distribution). Such a step comes last and needs float batches. Draws `x`, `y`, `width`, `height`, and `key` of the
    noise.
    """

    p: float = 0.5
    scale: tuple[float, float] = (0.02, 0.33)
    ratio: tuple[float, float] = (0.3, 3.3)
    value: Colour | Literal["random"] = 0
    after_normalize: bool = False

    def __post_init__(self) -> None:
        values.put(
            self,
            p=values.probability(self, self.p),
            scale=values.pair(self, "scale", self.scale, 0.0, 1.0),
            ratio=values.pair(self, "ratio", self.ratio, 1e-3, 1e3),
            value="random" if self.value == "random" else _colour(self, "value", self.value),
            after_normalize=values.truth(self, "after_normalize", self.after_normalize),
        )
        if self.value == "random" and not self.after_normalize:
            raise self.wrong("value", self.value, "noise is for normalised values: pass after_normalize=True")
        if self.after_normalize and self.value not in (0, "random"):
            raise self.wrong("value", self.value, 'after_normalize=True fills with 0 or "random"')

    def choose(self, stream: Stream, size: Size) -> dict[str, Any]:
        if not stream.happens(self.p):
            return {"applied": False}
        for _ in range(10):
            area = size.width * size.height * stream.uniform(*self.scale)
            ratio = math.exp(stream.uniform(math.log(self.ratio[0]), math.log(self.ratio[1])))
            height, width = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if height < size.height and width < size.width:
                x, y = stream.below(size.width - width + 1), stream.below(size.height - height + 1)
                drawn: dict[str, Any] = {"x": x, "y": y, "width": width, "height": height}
                return drawn | {"key": stream.key()} if self.value == "random" else drawn
        return {"applied": False}

    def operations(self, draw: Draw, size: Size) -> Sequence[Operation]:
        key = halves(draw["key"]) if self.value == "random" else None
        return [self._step((draw["x"], draw["y"], draw["width"], draw["height"]), key)]

    def _step(self, rect: tuple[int, int, int, int], key: tuple[int, int] | None) -> native.Step:
        if self.after_normalize or isinstance(self.value, str):
            return native.erase_step([rect], key)
        return _fill([rect], self.value)

    def draw_many(self, streams: Streams, sizes: Sizes) -> ManyDrawn | None:
        made: list[Any] = [()] * len(sizes)
        left = np.flatnonzero(streams.happens(self.p))  # those without a rectangle
        streams = streams.only(left)
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        for _ in range(10):
            if not len(left):
                break
            area = sizes[left, 0] * sizes[left, 1] * streams.uniform(*self.scale)
            ratio = np.array([math.exp(u) for u in streams.uniform(low, high).tolist()])
            sides = np.rint(np.sqrt(np.stack([area / ratio, area * ratio], axis=1))).astype(np.int64)
            fits = (sides < sizes[left]).all(axis=1)
            found, room = left[fits], sizes[left[fits]] - sides[fits] + 1
            if len(found):
                placed = streams.only(np.flatnonzero(fits))
                corners = np.stack([placed.below(room[:, 0]), placed.below(room[:, 1])], axis=1)
                keys: list[Any] = [None] * len(found)
                if self.value == "random":
                    keys = list(zip(placed.words().tolist(), placed.words().tolist(), strict=True))
                rects = np.hstack([corners, sides[fits]]).tolist()
                for i, (x, y, width, height), key in zip(found.tolist(), rects, keys, strict=True):
                    made[i] = self._step((x, y, width, height), key)
            streams, left = streams.only(np.flatnonzero(~fits)), left[~fits]
        return ManyDrawn(made)


@dataclass(frozen=True)
class CoarseDropout(CoreStep):
    """Several rectangles filled with a colour, with probability `p`, as albumentations 2's (cutout is one square hole).

    `hole_height_range`, `hole_width_range`: pixels where the numbers are whole, else shares of the side. Draws `holes`,
    a list of (x, y, width, height).
    """

    num_holes_range: tuple[int, int] = (1, 2)
    hole_height_range: tuple[float, float] = (0.1, 0.2)
    hole_width_range: tuple[float, float] = (0.1, 0.2)
    fill: Colour = 0
    p: float = 0.5

    def __post_init__(self) -> None:
        values.pair(self, "num_holes_range", self.num_holes_range, 1, 10000)
        low, high = (values.whole(self, "num_holes_range", end, 1, 10000) for end in self.num_holes_range)
        values.put(self, num_holes_range=(low, high))
        for name in ("hole_height_range", "hole_width_range"):
            ends = getattr(self, name)
            values.pair(self, name, ends, 0.0, 1 << 20)
            if all(isinstance(end, int) for end in ends):
                values.put(self, **{name: (ends[0], ends[1])})
            else:
                values.put(self, **{name: values.pair(self, name, ends, 0.0, 1.0)})
        values.put(self, fill=_colour(self, "fill", self.fill), p=values.probability(self, self.p))

    @staticmethod
    def _length(stream: Stream, ends: tuple[float, float], side: int) -> int:
        if isinstance(ends[0], int) and isinstance(ends[1], int):
            return min(stream.whole(ends[0], ends[1]), side)
        return int(side * stream.uniform(*ends))

    def choose(self, stream: Stream, size: Size) -> dict[str, Any]:
        if not stream.happens(self.p):
            return {"applied": False}
        holes = []
        for _ in range(stream.whole(*self.num_holes_range)):
            height = self._length(stream, self.hole_height_range, size.height)
            width = self._length(stream, self.hole_width_range, size.width)
            x, y = stream.below(size.width - width + 1), stream.below(size.height - height + 1)
            holes.append([x, y, width, height])
        return {"holes": holes}

    def operations(self, draw: Draw, size: Size) -> Sequence[Operation]:
        return [_fill(draw["holes"], self.fill)]

    @staticmethod
    def _lengths(streams: Streams, ends: tuple[float, float], sides: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        if isinstance(ends[0], int) and isinstance(ends[1], int):
            return np.minimum(streams.whole(ends[0], ends[1]), sides)
        return (sides * streams.uniform(*ends)).astype(np.int64)

    def draw_many(self, streams: Streams, sizes: Sizes) -> ManyDrawn | None:
        made: list[Any] = [()] * len(sizes)
        which = np.flatnonzero(streams.happens(self.p))
        if not len(which):
            return ManyDrawn(made)
        streams, sides = streams.only(which), sizes[which]
        counts = streams.whole(*self.num_holes_range)
        holes: list[list[list[int]]] = [[] for _ in which]
        for number in range(int(np.max(counts))):
            heights = self._lengths(streams, self.hole_height_range, sides[:, 1])
            widths = self._lengths(streams, self.hole_width_range, sides[:, 0])
            corners = streams.below(sides[:, 0] - widths + 1), streams.below(sides[:, 1] - heights + 1)
            rects = np.stack([*corners, widths, heights], axis=1).tolist()
            for i in np.flatnonzero(number < counts).tolist():
                holes[i].append(rects[i])
        for i, rects in zip(which.tolist(), holes, strict=True):
            made[i] = _fill(rects, self.fill)
        return ManyDrawn(made)


@dataclass(frozen=True)
class PatchMask(CoreStep):
    """Cells of a grid set to zero, as SAFE's RandomMask: `int(h * w * ratio / cell**2)` distinct cells of cell x cell.

    The grid starts at the upper left corner; only whole cells count. `ratio`: a share, or (low, high).
    `after_normalize` sets normalised values to zero: such a step comes last and needs float batches. Draws `ratio` and
    `cells`, numbers of the cells row by row.
    """

    cell: int = 16
    ratio: float | tuple[float, float] = (0.0, 0.75)
    after_normalize: bool = False

    def __post_init__(self) -> None:
        values.put(self, after_normalize=values.truth(self, "after_normalize", self.after_normalize))
        values.put(self, cell=values.whole(self, "cell", self.cell, 1))
        values.put(self, ratio=values.number_or_pair(self, "ratio", self.ratio, 0.0, 1.0))

    def choose(self, stream: Stream, size: Size) -> dict[str, Any]:
        ratio = stream.uniform(*values.bounds(self.ratio))
        cells = (size.width // self.cell) * (size.height // self.cell)
        count = int(size.height * size.width * ratio / self.cell**2)
        return {"ratio": ratio, "cells": stream.order(cells)[: min(count, cells)]}

    def operations(self, draw: Draw, size: Size) -> Sequence[Operation]:
        columns, side = size.width // self.cell, self.cell
        rects = [(c % columns * side, c // columns * side, side, side) for c in draw["cells"]]
        return [native.erase_step(rects, None) if self.after_normalize else _fill(rects, 0)]

    def draw_many(self, streams: Streams, sizes: Sizes) -> ManyDrawn | None:
        if len(np.unique(sizes, axis=0)) != 1:
            return None
        size = Size(*sizes[0].tolist())
        ratios = streams.uniform(*values.bounds(self.ratio)).tolist()
        cells = (size.width // self.cell) * (size.height // self.cell)
        orders = streams.orders(cells)
        made = []
        for ratio, order in zip(ratios, orders, strict=True):
            count = int(size.height * size.width * ratio / self.cell**2)
            made.append(self.operations({"cells": order[: min(count, cells)].tolist()}, size))
        return ManyDrawn(made)


@dataclass(frozen=True)
class TexturePatches(CoreStep):
    """Random patches, sorted by texture: the sum of absolute differences of neighbours in four directions.

    `rule="ssp"` keeps the poorest patch of `count` (64): (patch, patch). "patchcraft" lays the `kept` (64) poorest of
    `count` (192) out in a square, and the `kept` richest in another below it, richest first: (2 side, side) with side =
    patch * sqrt(kept). An image with a side below `patch` is resized first (bilinear): by SSP to (256, 256), by
    PatchCraft until its shorter side is `patch`. Draws `corners`, a list of (x, y).
    """

    rule: Literal["ssp", "patchcraft"] = "ssp"
    patch: int = 32
    count: int | None = None
    kept: int = 64

    def __post_init__(self) -> None:
        values.one_of(self, "rule", self.rule, ("ssp", "patchcraft"))
        values.put(self, patch=values.whole(self, "patch", self.patch, 2, 256))
        count = (64 if self.rule == "ssp" else 192) if self.count is None else self.count
        values.put(self, count=values.whole(self, "count", count, 1, 100000))
        values.put(self, kept=values.whole(self, "kept", self.kept, 1, 100000))
        if math.isqrt(self.kept) ** 2 != self.kept:
            raise self.wrong("kept", self.kept, "must be a square number")
        if self.rule == "patchcraft" and self.kept > count:
            raise self.wrong("kept", self.kept, f"must not be above count={count}")

    def _enlarged(self, size: Size) -> Size:
        short, long = min(size), max(size)
        if short >= self.patch:
            return size
        if self.rule == "ssp":
            return Size(256, 256)
        long = int(self.patch * long / short)
        return Size(self.patch, long) if size.width <= size.height else Size(long, self.patch)

    def choose(self, stream: Stream, size: Size) -> dict[str, Any]:
        width, height = self._enlarged(size)
        corners = [
            [stream.below(width - self.patch + 1), stream.below(height - self.patch + 1)]
            for _ in range(self.count or 0)
        ]
        return {"corners": corners}

    def draw_many(self, streams: Streams, sizes: Sizes) -> ManyDrawn | None:
        room = np.array([self._enlarged(Size(*size)) for size in sizes.tolist()], np.int64) - self.patch + 1
        words = streams.block(2 * (self.count or 0))
        corners = np.stack([below(words[0::2], room[:, 0]), below(words[1::2], room[:, 1])], axis=2)
        drawn = zip(corners.transpose(1, 0, 2).tolist(), sizes.tolist(), strict=True)
        side = self.patch * math.isqrt(self.kept)
        after = [self.patch, self.patch] if self.rule == "ssp" else [side, 2 * side]
        made = [self.operations({"corners": some}, Size(*size)) for some, size in drawn]
        return ManyDrawn(made, np.full_like(sizes, after))

    def sizes_after(self, sizes: frozenset[Size] | None) -> frozenset[Size] | None:
        side = self.patch * math.isqrt(self.kept)
        return frozenset([Size(self.patch, self.patch) if self.rule == "ssp" else Size(side, 2 * side)])

    def operations(self, draw: Draw, size: Size) -> Sequence[Operation]:
        corners = [(x, y) for x, y in draw["corners"]]
        enlarged = self._enlarged(size)
        first = [] if enlarged == size else [native.resize_step(*enlarged, FILTERS["bilinear"])]
        if self.rule == "ssp":
            return [*first, native.texture_step(corners, self.patch, [0], 1)]
        poor, rich = range(self.kept), range(len(corners) - 1, len(corners) - 1 - self.kept, -1)
        return [*first, native.texture_step(corners, self.patch, [*poor, *rich], math.isqrt(self.kept))]
