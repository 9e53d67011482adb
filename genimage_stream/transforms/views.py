"""Several crops of one image, in torchvision's order: FiveCrop and TenCrop as lists of steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from genimage_stream.decode import _core
from genimage_stream.transforms import values
from genimage_stream.transforms.chance import Stream, Streams
from genimage_stream.transforms.geometry import CenterCrop, RandomCrop
from genimage_stream.transforms.many import Sizes
from genimage_stream.transforms.step import Draw, ManyDrawn, Operation, Size, Step

Views = Literal["center", "five", "ten"]

#: By name, numbers of `ViewCrop.view` in the order of a batch.
VIEWS: dict[str, Sequence[int]] = {"center": (4,), "five": range(5), "ten": range(10)}


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
        mirrored = [_core.flip_step(True, False)] if self.view >= 5 else []
        return [*mirrored, *super().operations(draw, size)]

    def draw_many(self, streams: Streams, sizes: Sizes) -> ManyDrawn | None:
        return None


def steps_by_view(steps: Sequence[Step], views: Views) -> list[tuple[Step, ...]]:
    """The steps for each view: the last CenterCrop or RandomCrop gives way to the view's, of its size and padding.

    Raises ValueError where there is no such step.
    """
    places = [i for i, step in enumerate(steps) if isinstance(step, (CenterCrop, RandomCrop))]
    if not places:
        raise ValueError(f"views={views!r} replaces the last CenterCrop or RandomCrop, but the transform has none")
    crop = steps[places[-1]]
    assert isinstance(crop, (CenterCrop, RandomCrop))
    first = ViewCrop(crop.size, crop.pad, crop.rounding if isinstance(crop, CenterCrop) else "torchvision")
    return [(*steps[: places[-1]], replace(first, view=view), *steps[places[-1] + 1 :]) for view in VIEWS[views]]
