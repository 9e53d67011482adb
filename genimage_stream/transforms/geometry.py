"""Steps that resize and crop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from genimage_stream.decode import native
from genimage_stream.transforms import values
from genimage_stream.transforms.chance import Stream, Streams
from genimage_stream.transforms.many import Sizes
from genimage_stream.transforms.step import CoreStep, Draw, ManyDrawn, Operation, Size, Step

Filter = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
Like = Literal["pillow", "cv2"]
Pad = Literal["error", "zeros", "reflect", "symmetric", "tile"]

FILTERS: dict[str, int | None] = {"nearest": None, "bilinear": 0, "bicubic": 1, "box": 2, "hamming": 3, "lanczos": 4}
PADDINGS = {"zeros": 0, "reflect": 1, "symmetric": 2, "tile": 3, "edge": 4}
_PADS = ("error", "zeros", "reflect", "symmetric", "tile")
_LARGEST = 1 << 20


def _resize(width: int, height: int, name: str, like: str) -> native.Step:
    _check_sides(width, height)
    if like == "cv2":
        return native.resize_linear_step(width, height)
    return native.resize_step(width, height, FILTERS[name])


def _check_filter(step: Step, name: str, like: str) -> None:
    values.one_of(step, "like", like, ("pillow", "cv2"))
    values.one_of(step, "filter", name, tuple(FILTERS))
    if like == "cv2" and name != "bilinear":
        raise step.wrong("filter", name, 'like="cv2" interpolates linearly')


def _check_sides(width: int, height: int) -> None:
    if not (1 <= width <= _LARGEST and 1 <= height <= _LARGEST):
        raise ValueError(f"an image of {width}x{height} pixels cannot be made")


@dataclass(frozen=True)
class Resize(CoreStep):
    """Resize as torchvision does on PIL images: by Pillow, with antialiasing.

    `size`: the shorter side (the longer one is `int(size * long / short)`), or (height, width). `longest` in its place:
    the longer side. `filter` is one of Pillow's six. `like="cv2"` is `cv2.resize` with linear interpolation and no
    antialiasing, as albumentations' Resize.
    """

    size: int | tuple[int, int] | None = None
    filter: Filter = "bilinear"
    longest: int | None = None
    like: Like = "pillow"

    def __post_init__(self) -> None:
        if (self.size is None) == (self.longest is None):
            raise self.wrong("size", self.size, "either size or longest is needed")
        if self.size is not None:
            values.put(self, size=values.size(self, "size", self.size))
        else:
            values.put(self, longest=values.whole(self, "longest", self.longest, 1))
        _check_filter(self, self.filter, self.like)

    def _sides(self, size: Size) -> tuple[int, int]:
        """(width, height) of the result."""
        if isinstance(self.size, tuple):
            return self.size[1], self.size[0]
        short, long = min(size), max(size)
        if self.size is not None:
            short, long = self.size, int(self.size * long / short)
        elif self.longest is not None:
            short, long = int(self.longest * short / long), self.longest
        return (short, long) if size.width <= size.height else (long, short)

    def operations(self, draw: Draw, size: Size) -> Sequence[Operation]:
        return [_resize(*self._sides(size), self.filter, self.like)]

    def draw_many(self, streams: Streams, sizes: Sizes) -> ManyDrawn | None:
        unlike, which = np.unique(sizes, axis=0, return_inverse=True)
        sides = [self._sides(Size(*size)) for size in unlike.tolist()]
        if any(not 1 <= side <= _LARGEST for one in sides for side in one):
            return None
        made = [_resize(*one, self.filter, self.like) for one in sides]
        return ManyDrawn([made[i] for i in which.ravel().tolist()], np.array(sides, np.int64)[which.ravel()])

    def sizes_after(self, sizes: frozenset[Size] | None) -> frozenset[Size] | None:
        if isinstance(self.size, tuple):
            return _fixed(self.size)
        return None if sizes is None else frozenset(Size(*self._sides(size)) for size in sizes)


@dataclass(frozen=True)
class RandomScale(CoreStep):
    """Resize by a factor, the same for both sides, which are truncated: `int(side * factor)`.

    `scale`: a factor, or (low, high) to draw it from. `like="pillow"` resizes with `filter` and antialiasing, as
    `image.resize((int(w * f), int(h * f)), filter)`; `like="cv2"` is `cv2.resize` with linear interpolation and no
    antialiasing, as albumentations' RandomScale.
    """

    scale: float | tuple[float, float]
    like: Like = "pillow"
    filter: Filter = "bilinear"

    def __post_init__(self) -> None:
        values.put(self, scale=values.number_or_pair(self, "scale", self.scale, 1e-3, 1e3))
        _check_filter(self, self.filter, self.like)

    def choose(self, stream: Stream, size: Size) -> dict[str, Any]:
        return {"factor": stream.uniform(*values.bounds(self.scale))}

    def operations(self, draw: Draw, size: Size) -> Sequence[Operation]:
        width, height = int(size.width * draw["factor"]), int(size.height * draw["factor"])
        return [_resize(width, height, self.filter, self.like)]

    def draw_many(self, streams: Streams, sizes: Sizes) -> ManyDrawn | None:
        factors = streams.uniform(*self.scale)[:, None] if isinstance(self.scale, tuple) else self.scale
        sides = (sizes * factors).astype(np.int64)
        if np.min(sides, initial=1) < 1 or np.max(sides, initial=1) > _LARGEST:
            return None
        return ManyDrawn([_resize(w, h, self.filter, self.like) for w, h in sides.tolist()], sides)

    def sizes_after(self, sizes: frozenset[Size] | None) -> frozenset[Size] | None:
        if sizes is None or isinstance(self.scale, tuple):
            return None
        return frozenset(Size(int(w * self.scale), int(h * self.scale)) for w, h in sizes)


@dataclass(frozen=True)
class CenterCrop(CoreStep):
    """The middle of the image: (height, width), or one side for both.

    `rounding="torchvision"` puts the corner at `round((side - crop) / 2)`, half to even; "floor" truncates, as
    albumentations. Sides that are too small are padded equally on both ends (an odd pixel at the right, the bottom).
    """

    size: int | tuple[int, int]
    pad: Pad = "zeros"
    rounding: Literal["torchvision", "floor"] = "torchvision"

    def __post_init__(self) -> None:
        values.put(self, size=values.size(self, "size", self.size))
        values.one_of(self, "pad", self.pad, _PADS)
        values.one_of(self, "rounding", self.rounding, ("torchvision", "floor"))

    def _corner(self, side: int, crop: int) -> int:
        if side < crop:
            return -((crop - side) // 2)
        return round((side - crop) / 2) if self.rounding == "torchvision" else (side - crop) // 2

    def choose(self, stream: Stream, size: Size) -> dict[str, Any]:
        height, width = values.sides(self.size)
        _need_room(self.pad, size, height, width)
        return {"x": self._corner(size.width, width), "y": self._corner(size.height, height)}

    def operations(self, draw: Draw, size: Size) -> Sequence[Operation]:
        return [_crop(draw["x"], draw["y"], self.size, self.pad)]

    def draw_many(self, streams: Streams, sizes: Sizes) -> ManyDrawn | None:
        crop = np.array(values.sides(self.size)[::-1])
        if self.pad == "error" and (sizes < crop).any():
            return None
        room = sizes - crop
        inside = np.rint(room / 2).astype(np.int64) if self.rounding == "torchvision" else room // 2
        return _crops(np.where(room < 0, -(-room // 2), inside), self.size, self.pad)

    def sizes_after(self, sizes: frozenset[Size] | None) -> frozenset[Size] | None:
        return _after_crop(self.size, self.pad, sizes)


@dataclass(frozen=True)
class RandomCrop(CoreStep):
    """A window at random: (height, width), or one side for both.

    `pad` says what happens where the image is smaller: "error", or what lies beyond its edges ("reflect" repeats the
    image mirrored without its edge, "symmetric" with it, "tile" as it is). `place` says where the image then lies:
    "torchvision" adds the full difference on both ends of a side that is too small (as `pad_if_needed=True`) and draws
    the window from all of that; "centre" adds half of it on each (as albumentations' PadIfNeeded before a RandomCrop).
    With "tile" the image is repeated to the right and downwards until the window fits.

    Draws `x`, `y`: the window's corner in the image that reaches the step, negative in the padding; `pad`: (left, top,
    right, bottom), where there is any.
    """

    size: int | tuple[int, int]
    pad: Pad = "error"
    place: Literal["torchvision", "centre"] = "torchvision"

    def __post_init__(self) -> None:
        values.put(self, size=values.size(self, "size", self.size))
        values.one_of(self, "pad", self.pad, _PADS)
        values.one_of(self, "place", self.place, ("torchvision", "centre"))

    def _margins(self, side: int, crop: int) -> tuple[int, int]:
        """How much is added before and after a side."""
        missing = max(crop - side, 0)
        if self.pad == "tile":
            return 0, side * -(-crop // side) - side if missing else 0
        if self.place == "torchvision":
            return missing, missing
        return missing // 2, missing - missing // 2

    def choose(self, stream: Stream, size: Size) -> dict[str, Any]:
        height, width = values.sides(self.size)
        _need_room(self.pad, size, height, width)
        left, right = self._margins(size.width, width)
        top, bottom = self._margins(size.height, height)
        drawn: dict[str, Any] = {
            "x": stream.below(left + size.width + right - width + 1) - left,
            "y": stream.below(top + size.height + bottom - height + 1) - top,
        }
        if left or right or top or bottom:
            drawn["pad"] = [left, top, right, bottom]
        return drawn

    def operations(self, draw: Draw, size: Size) -> Sequence[Operation]:
        if self.pad == "error":
            height, width = values.sides(self.size)
            _need_inside((draw["x"], draw["y"], width, height), size)
        return [_crop(draw["x"], draw["y"], self.size, self.pad)]

    def draw_many(self, streams: Streams, sizes: Sizes) -> ManyDrawn | None:
        crop = np.array(values.sides(self.size)[::-1])
        missing = np.maximum(crop - sizes, 0)
        if self.pad == "error" and missing.any():
            return None
        before, after = missing, missing
        if self.pad == "tile":
            before, after = np.zeros_like(missing), np.where(missing > 0, sizes * -(-crop // sizes) - sizes, 0)
        elif self.place == "centre":
            before, after = missing // 2, missing - missing // 2
        room = before + sizes + after - crop + 1
        x, y = streams.below(room[:, 0]), streams.below(room[:, 1])
        return _crops(np.stack([x, y], axis=1) - before, self.size, self.pad)

    def sizes_after(self, sizes: frozenset[Size] | None) -> frozenset[Size] | None:
        return _after_crop(self.size, self.pad, sizes)


def _need_room(pad: str, size: Size, height: int, width: int) -> None:
    if pad == "error" and (size.width < width or size.height < height):
        raise ValueError(
            f'a crop of {width}x{height} is larger than the image of {size.width}x{size.height}; pad="zeros" pads it'
        )


def _need_inside(box: tuple[int, int, int, int], size: Size) -> None:
    """`box`: (x, y, width, height). What was drawn for another image may not fit this one."""
    x, y, width, height = box
    if not (0 <= x <= size.width - width and 0 <= y <= size.height - height):
        raise ValueError(
            f"the window of {width}x{height} drawn at ({x}, {y}) is not inside the image of {size.width}x{size.height}"
        )


def _fixed(size: int | tuple[int, int]) -> frozenset[Size]:
    height, width = values.sides(size)
    return frozenset([Size(width, height)])


def _after_crop(size: int | tuple[int, int], pad: str, sizes: frozenset[Size] | None) -> frozenset[Size]:
    for one in sizes or ():
        _need_room(pad, one, *values.sides(size))
    return _fixed(size)


def _crops(corners: Sizes, size: int | tuple[int, int], pad: str) -> ManyDrawn:
    height, width = values.sides(size)
    padding = PADDINGS.get(pad, 0)
    made = [native.crop_step((x, y, width, height), padding) for x, y in corners.tolist()]
    return ManyDrawn(made, np.full_like(corners, [width, height]))


def _crop(x: int, y: int, size: int | tuple[int, int], pad: str) -> native.Step:
    height, width = values.sides(size)
    return native.crop_step((x, y, width, height), PADDINGS.get(pad, 0))


@dataclass(frozen=True)
class Tile(CoreStep):
    """The image repeated to the right and downwards until both sides have `size`, where one of them is below it.

    Each side is repeated whole: `side * ceil(size / side)`, as NPR's and Effort's translate_duplicate.
    """

    size: int

    def __post_init__(self) -> None:
        values.put(self, size=values.whole(self, "size", self.size, 1))

    def _sides(self, size: Size) -> Size:
        return Size(*(side * -(-self.size // side) for side in size)) if min(size) < self.size else size

    def choose(self, stream: Stream, size: Size) -> dict[str, Any]:
        return {"applied": min(size) < self.size}

    def operations(self, draw: Draw, size: Size) -> Sequence[Operation]:
        return [native.crop_step((0, 0, *self._sides(size)), PADDINGS["tile"])]

    def draw_many(self, streams: Streams, sizes: Sizes) -> ManyDrawn | None:
        many = [Size(*size) for size in sizes.tolist()]
        made = [self.operations({}, size) if min(size) < self.size else () for size in many]
        return ManyDrawn(made, np.array([self._sides(size) for size in many], np.int64))

    def sizes_after(self, sizes: frozenset[Size] | None) -> frozenset[Size] | None:
        return None if sizes is None else frozenset(map(self._sides, sizes))


@dataclass(frozen=True)
class RandomResizedCrop(CoreStep):
    """A box of random area and aspect ratio, cut out and then resized, as torchvision's on PIL images.

    `like="cv2"` resizes as Resize's, which is albumentations' way.

    Ten tries to draw an area (a share of the image's, from `scale`) and a ratio (log-uniform, from `ratio`) that fit;
    otherwise the largest central box within the ratios.
    """

    size: int | tuple[int, int]
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    filter: Filter = "bilinear"
    like: Like = "pillow"

    def __post_init__(self) -> None:
        values.put(
            self,
            size=values.size(self, "size", self.size),
            scale=values.pair(self, "scale", self.scale, 0.0, 1e3),
            ratio=values.pair(self, "ratio", self.ratio, 1e-3, 1e3),
        )
        _check_filter(self, self.filter, self.like)

    def choose(self, stream: Stream, size: Size) -> dict[str, Any]:
        width, height = size
        for _ in range(10):
            area = width * height * stream.uniform(*self.scale)
            ratio = math.exp(stream.uniform(math.log(self.ratio[0]), math.log(self.ratio[1])))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                return {"x": stream.below(width - w + 1), "y": stream.below(height - h + 1), "width": w, "height": h}
        return dict(zip(("x", "y", "width", "height"), self._central(size), strict=True))

    def _central(self, size: Size) -> tuple[int, int, int, int]:
        width, height = w, h = size
        if width / height < self.ratio[0]:
            h = round(width / self.ratio[0])
        elif width / height > self.ratio[1]:
            w = round(height * self.ratio[1])
        return (width - w) // 2, (height - h) // 2, w, h

    def operations(self, draw: Draw, size: Size) -> Sequence[Operation]:
        height, width = values.sides(self.size)
        box = (draw["x"], draw["y"], draw["width"], draw["height"])
        _need_inside(box, size)
        return [native.crop_step(box, PADDINGS["zeros"]), _resize(width, height, self.filter, self.like)]

    def draw_many(self, streams: Streams, sizes: Sizes) -> ManyDrawn | None:
        height, width = values.sides(self.size)
        boxes = np.empty((len(sizes), 4), np.int64)
        left = np.arange(len(sizes))  # those without a box
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        for _ in range(10):
            if not len(left):
                break
            area = sizes[left, 0] * sizes[left, 1] * streams.uniform(*self.scale)
            ratio = np.array([math.exp(u) for u in streams.uniform(low, high).tolist()])
            sides = np.rint(np.sqrt(np.stack([area * ratio, area / ratio], axis=1))).astype(np.int64)
            fits = ((sides > 0) & (sides <= sizes[left])).all(axis=1)
            found, room = left[fits], sizes[left[fits]] - sides[fits] + 1
            placed = streams.only(np.flatnonzero(fits))
            boxes[found, 0], boxes[found, 1] = placed.below(room[:, 0]), placed.below(room[:, 1])
            boxes[found, 2:] = sides[fits]
            streams, left = streams.only(np.flatnonzero(~fits)), left[~fits]
        for i in left.tolist():
            boxes[i] = self._central(Size(*sizes[i].tolist()))
        resize, zeros = _resize(width, height, self.filter, self.like), PADDINGS["zeros"]
        made = [(native.crop_step((x, y, w, h), zeros), resize) for x, y, w, h in boxes.tolist()]
        return ManyDrawn(made, np.full_like(sizes, [width, height]))

    def sizes_after(self, sizes: frozenset[Size] | None) -> frozenset[Size] | None:
        return _fixed(self.size)
