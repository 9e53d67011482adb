"""Steps that mirror, turn, shift and shear."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genimage_stream.decode import native
from genimage_stream.transforms import values
from genimage_stream.transforms.chance import Stream, Streams
from genimage_stream.transforms.many import Sizes
from genimage_stream.transforms.step import CoreStep, Draw, ManyDrawn, Operation, Size


@dataclass(frozen=True)
class _Flip(CoreStep):
    p: float = 0.5

    def __post_init__(self) -> None:
        values.put(self, p=values.probability(self, self.p))

    def choose(self, stream: Stream, size: Size) -> dict[str, Any]:
        return {"applied": stream.happens(self.p)}

    def draw_many(self, streams: Streams, sizes: Sizes) -> ManyDrawn | None:
        flip = self.operations({}, Size(1, 1))
        return ManyDrawn([flip if happens else () for happens in streams.happens(self.p).tolist()])


@dataclass(frozen=True)
class RandomHorizontalFlip(_Flip):
    """Mirrored left to right, with probability `p`."""

    def operations(self, draw: Draw, size: Size) -> Sequence[Operation]:
        return [native.flip_step(True, False)]


@dataclass(frozen=True)
class RandomVerticalFlip(_Flip):
    """Turned upside down by mirroring, with probability `p`."""

    def operations(self, draw: Draw, size: Size) -> Sequence[Operation]:
        return [native.flip_step(False, True)]


@dataclass(frozen=True)
class RandomRotate90(CoreStep):
    """Turned counter-clockwise by 0, 90, 180 or 270 degrees, with equal chances, as numpy.rot90. Draws `angle`."""

    def choose(self, stream: Stream, size: Size) -> dict[str, Any]:
        return {"angle": 90 * stream.below(4)}

    def operations(self, draw: Draw, size: Size) -> Sequence[Operation]:
        return [native.quarter_turns_step(draw["angle"] // 90)]

    def draw_many(self, streams: Streams, sizes: Sizes) -> ManyDrawn | None:
        turns = streams.below(4)
        made = [native.quarter_turns_step(turn) for turn in turns.tolist()]
        return ManyDrawn(made, np.where((turns % 2 == 1)[:, None], sizes[:, ::-1], sizes))

    def sizes_after(self, sizes: frozenset[Size] | None) -> frozenset[Size] | None:
        return None if sizes is None else sizes | {Size(height, width) for width, height in sizes}


@dataclass(frozen=True)
class RandomRotation(CoreStep):
    """Turned about its centre by an angle from `degrees` (a number d for (-d, d)), as torchvision's on PIL images.

    Nearest neighbour, the image keeps its size, zeros come in from outside. Draws `angle`, counter-clockwise.
    """

    degrees: float | tuple[float, float]

    def __post_init__(self) -> None:
        values.put(self, degrees=values.number_or_pair(self, "degrees", self.degrees, -1e6, 1e6))
        if not isinstance(self.degrees, tuple) and self.degrees < 0:
            raise self.wrong("degrees", self.degrees, "one number means (-d, d) and must not be negative")

    def choose(self, stream: Stream, size: Size) -> dict[str, Any]:
        low, high = self.degrees if isinstance(self.degrees, tuple) else (-self.degrees, self.degrees)
        return {"angle": stream.uniform(low, high)}

    def operations(self, draw: Draw, size: Size) -> Sequence[Operation]:
        angle = draw["angle"] % 360.0
        # Pillow's short cuts: exact where no pixel has to move between places.
        if angle == 180 or (angle in (0, 90, 270) and (angle == 0 or size.width == size.height)):
            return [native.quarter_turns_step(int(angle) // 90)]
        turn = -math.radians(angle)
        cos, sin = round(math.cos(turn), 15), round(math.sin(turn), 15)
        matrix = [cos, sin, 0.0, round(-math.sin(turn), 15), cos, 0.0]
        x, y = size.width / 2, size.height / 2
        matrix[2], matrix[5] = (
            matrix[0] * -x + matrix[1] * -y + 0.0 + x,
            matrix[3] * -x + matrix[4] * -y + 0.0 + y,
        )
        return [native.affine_step(matrix)]

    def draw_many(self, streams: Streams, sizes: Sizes) -> ManyDrawn | None:
        low, high = self.degrees if isinstance(self.degrees, tuple) else (-self.degrees, self.degrees)
        angles = streams.uniform(low, high).tolist()
        drawn = zip(angles, sizes.tolist(), strict=True)
        return ManyDrawn([self.operations({"angle": angle}, Size(*size)) for angle, size in drawn])


@dataclass(frozen=True)
class RandomAffine(CoreStep):
    """Rotation, shift, scale and shear about the centre, as torchvision's RandomAffine on PIL images (nearest, zeros).

    `degrees` as RandomRotation's; `translate`: largest shifts as shares of (width, height); `scale`: (low, high);
    `shear`: d for (-d, d) across, (low, high) across, or (x low, x high, y low, y high), in degrees.
    Draws `angle`, `translate` (pixels), `scale`, `shear`.
    """

    degrees: float | tuple[float, float]
    translate: tuple[float, float] | None = None
    scale: tuple[float, float] | None = None
    shear: float | tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        values.put(self, degrees=values.number_or_pair(self, "degrees", self.degrees, -1e6, 1e6))
        if self.translate is not None:
            if not isinstance(self.translate, (tuple, list)) or len(self.translate) != 2:
                raise self.wrong("translate", self.translate, "(across, down) is needed")
            shares = tuple(values.number(self, "translate", share, 0.0, 1.0) for share in self.translate)
            values.put(self, translate=shares)
        if self.scale is not None:
            values.put(self, scale=values.pair(self, "scale", self.scale, 1e-3, 1e3))
        if isinstance(self.shear, (tuple, list)):
            if len(self.shear) not in (2, 4):
                raise self.wrong("shear", self.shear, "a number, two or four are needed")
            values.put(self, shear=tuple(values.number(self, "shear", angle, -89.0, 89.0) for angle in self.shear))
        elif self.shear is not None:
            values.put(self, shear=values.number(self, "shear", self.shear, 0.0, 89.0))

    def choose(self, stream: Stream, size: Size) -> dict[str, Any]:
        low, high = self.degrees if isinstance(self.degrees, tuple) else (-self.degrees, self.degrees)
        angle = stream.uniform(low, high)
        shift = [0, 0]
        if self.translate is not None:
            across, down = self.translate[0] * size.width, self.translate[1] * size.height
            shift = [round(stream.uniform(-across, across)), round(stream.uniform(-down, down))]
        scale = 1.0 if self.scale is None else stream.uniform(*self.scale)
        shear = [0.0, 0.0]
        if self.shear is not None:
            angles = self.shear if isinstance(self.shear, tuple) else (-self.shear, self.shear)
            shear[0] = stream.uniform(angles[0], angles[1])
            if len(angles) == 4:
                shear[1] = stream.uniform(angles[2], angles[3])
        return {"angle": angle, "translate": shift, "scale": scale, "shear": shear}

    def operations(self, draw: Draw, size: Size) -> Sequence[Operation]:
        return [native.affine_step(self.matrix(draw, size))]

    def draw_many(self, streams: Streams, sizes: Sizes) -> ManyDrawn | None:
        low, high = self.degrees if isinstance(self.degrees, tuple) else (-self.degrees, self.degrees)
        angles = streams.uniform(low, high)
        shifts = np.zeros((len(sizes), 2), np.int64)
        if self.translate is not None:
            for axis in (0, 1):
                reach = self.translate[axis] * sizes[:, axis]
                shifts[:, axis] = np.rint(-reach + (reach + reach) * streams.units())
        scales = np.ones(len(sizes)) if self.scale is None else streams.uniform(*self.scale)
        shears = np.zeros((len(sizes), 2))
        if self.shear is not None:
            ends = self.shear if isinstance(self.shear, tuple) else (-self.shear, self.shear)
            for axis in range(len(ends) // 2):
                shears[:, axis] = streams.uniform(ends[2 * axis], ends[2 * axis + 1])
        columns = (angles.tolist(), shifts.tolist(), scales.tolist(), shears.tolist(), sizes.tolist())
        made = []
        for angle, shift, scale, shear, size in zip(*columns, strict=True):
            draw = {"angle": angle, "translate": shift, "scale": scale, "shear": shear}
            made.append(native.affine_step(self.matrix(draw, Size(*size))))
        return ManyDrawn(made)

    @staticmethod
    def matrix(draw: Draw, size: Size) -> list[float]:
        """Of the six numbers that Pillow's Image.transform takes for a draw of this step."""
        # torchvision's _get_inverse_affine_matrix, operation by operation: the result is rounded to 1 / 65536.
        rot, sx, sy = (math.radians(angle) for angle in (draw["angle"], *draw["shear"]))
        cx, cy = size.width * 0.5, size.height * 0.5
        tx, ty = draw["translate"]
        a = math.cos(rot - sy) / math.cos(sy)
        b = -math.cos(rot - sy) * math.tan(sx) / math.cos(sy) - math.sin(rot)
        c = math.sin(rot - sy) / math.cos(sy)
        d = -math.sin(rot - sy) * math.tan(sx) / math.cos(sy) + math.cos(rot)
        matrix = [value / draw["scale"] for value in (d, -b, 0.0, -c, a, 0.0)]
        matrix[2] += matrix[0] * (-cx - tx) + matrix[1] * (-cy - ty)
        matrix[5] += matrix[3] * (-cx - tx) + matrix[4] * (-cy - ty)
        matrix[2] += cx
        matrix[5] += cy
        return matrix
