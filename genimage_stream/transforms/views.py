"""Several crops of one image: torchvision's FiveCrop and TenCrop as lists of steps, and all of a grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from genimage_stream.decode import native
from genimage_stream.transforms import values
from genimage_stream.transforms.chance import Stream, Streams
from genimage_stream.transforms.geometry import CenterCrop, RandomCrop
from genimage_stream.transforms.many import Sizes
from genimage_stream.transforms.step import Draw, ManyDrawn, Operation, Size, Step

Views = Literal["center", "five", "ten", "all", "whole"]

#: What `views=` may be.
NAMES: tuple[Views, ...] = ("center", "five", "ten", "all", "whole")

#: As many views of every image, by name: numbers of `ViewCrop.view` in the order of a batch.
FIXED: dict[str, Sequence[int]] = {"center": (4,), "five": range(5), "ten": range(10)}


_NO_CHANCE = Stream((0, 0), (0, 0, 0))  # these crops draw nothing


@dataclass(frozen=True)
class ViewCrop(CenterCrop):
    """One of torchvision's TenCrop: `view` 0 to 4 are top left, top right, bottom left, bottom right and the centre, 5
    to 9 the same of the mirrored image.

    Along a side that is smaller than the crop all are where CenterCrop is, and padded alike; with pad="tile" the image
    starts at 0, as a loader's `small="tile"`. Draws `x`, `y`.
    """

    view: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        values.put(self, view=values.whole(self, "view", self.view, 0, 9))

    def choose(self, stream: Stream, size: Size) -> dict[str, Any]:
        height, width = values.sides(self.size)
        drawn = super().choose(stream, size)
        ends = {0: (0, 0), 1: (1, 0), 2: (0, 1), 3: (1, 1)}.get(self.view % 5)
        for axis, (side, crop) in enumerate(((size.width, width), (size.height, height))):
            name = "xy"[axis]
            if side < crop:
                drawn[name] = 0 if self.pad == "tile" else drawn[name]
            elif ends is not None:
                drawn[name] = (side - crop) * ends[axis]
        return drawn

    def operations(self, draw: Draw, size: Size) -> Sequence[Operation]:
        mirrored = [native.flip_step(True, False)] if self.view >= 5 else []
        return [*mirrored, *super().operations(draw, size)]

    def draw_many(self, streams: Streams, sizes: Sizes) -> ManyDrawn | None:
        return None


_MOST_WINDOWS = 1 << 20  # of a grid in one image


@dataclass(frozen=True)
class GridCrop(CenterCrop):
    """All windows of a grid, row by row: every `stride` pixels, a number or (down, across), from the upper left corner
    on, and where the last of a row or column does not end with the image, one more that does.

    Along a side that is smaller than the crop there is one, where ViewCrop's are. Draws `corners`, (x, y) of each.
    """

    stride: int | tuple[int, int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        values.put(self, stride=values.size(self, "stride", self.stride))

    def corners(self, size: Size) -> list[list[int]]:
        """(x, y) of the windows of an image of this size."""
        super().choose(_NO_CHANCE, size)  # an error where the image is too small and not padded
        down, across = values.sides(self.stride)
        height, width = values.sides(self.size)

        def places(side: int, crop: int, every: int) -> list[int]:
            if side < crop:
                return [0 if self.pad == "tile" else self._corner(side, crop)]
            return [*range(0, side - crop, every), side - crop]

        many = -(-max(1, size.height - height) // down) * -(-max(1, size.width - width) // across)
        if many > _MOST_WINDOWS:  # by an index that lies about a size, say
            raise ValueError(
                f"an image of {size.width}x{size.height} has {many:,} windows, and {_MOST_WINDOWS:,} are possible: "
                "take a larger stride"
            )
        return [[x, y] for y in places(size.height, height, down) for x in places(size.width, width, across)]

    def choose(self, stream: Stream, size: Size) -> dict[str, Any]:
        return {"corners": self.corners(size)}

    def operations(self, draw: Draw, size: Size) -> Sequence[Operation]:
        """That of the first window."""
        return self.each(draw["corners"][:1], size)

    def each(self, corners: Sequence[Sequence[int]], size: Size) -> list[Operation]:
        """Those of windows, one for each."""
        return [one for x, y in corners for one in super(GridCrop, self).operations({"x": x, "y": y}, size)]

    def draw_many(self, streams: Streams, sizes: Sizes) -> ManyDrawn | None:
        return None


def _last_crop(steps: Sequence[Step]) -> int | None:
    places = [i for i, step in enumerate(steps) if isinstance(step, (CenterCrop, RandomCrop))]
    return places[-1] if places else None


def steps_by_view(
    steps: Sequence[Step], views: Views, stride: int | tuple[int, int] | None = None
) -> list[tuple[Step, ...]]:
    """The steps for each view: the last CenterCrop or RandomCrop gives way to the view's, of its size and padding. Of
    "all" one list with a GridCrop, whose stride is by default its size; of "whole" one without the crop.

    Raises ValueError where there is no such step, but for "whole".
    """
    place = _last_crop(steps)
    if views == "whole":
        return [tuple(step for i, step in enumerate(steps) if i != place)]
    if place is None:
        raise ValueError(f"views={views!r} replaces the last CenterCrop or RandomCrop, but the transform has none")
    crop = steps[place]
    assert isinstance(crop, (CenterCrop, RandomCrop))
    rounding = crop.rounding if isinstance(crop, CenterCrop) else "torchvision"
    crops: list[CenterCrop]
    if views == "all":
        crops = [GridCrop(crop.size, crop.pad, rounding, crop.size if stride is None else stride)]
    else:
        crops = [ViewCrop(crop.size, crop.pad, rounding, view) for view in FIXED[views]]
    return [(*steps[:place], one, *steps[place + 1 :]) for one in crops]
