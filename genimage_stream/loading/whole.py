"""`views="whole"`: the sizes that images have after the steps, known from the index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from genimage_stream.dataset.access import Access
from genimage_stream.decode.checks import LARGEST_WINDOW
from genimage_stream.transforms.step import Size, Step, at_place


@dataclass(frozen=True)
class SizesAfter:
    """`before`: (k,) int64, rising: width << 32 | height of images; `after`: (k, 2) (height, width) of what the steps
    make of them."""

    before: npt.NDArray[np.int64]
    after: npt.NDArray[np.int64]

    @classmethod
    def of(cls, steps: Sequence[Step], access: Access) -> SizesAfter:
        """For the images of the dataset. Raises ValueError, naming the step, where one gives them a random size."""
        before = np.unique(unlike(*(access.take(column) for column in access.columns.numbers("width", "height"))))
        after = [_after(steps, Size(one >> 32, one & 0xFFFFFFFF)) for one in before.tolist()]
        return cls(before, np.array([(size.height, size.width) for size in after], np.int64).reshape(-1, 2))

    def find(self, sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """(n, 2) (height, width) of what the steps make of images of `sizes` (n, 2) (width, height)."""
        found: npt.NDArray[np.int64] = self.after[np.searchsorted(self.before, unlike(sizes[:, 0], sizes[:, 1]))]
        return found

    def all(self) -> list[tuple[int, int]]:
        """The (height, width) that there are, rising."""
        return [(height, width) for height, width in np.unique(self.after, axis=0).tolist()]


def unlike(width: npt.NDArray[np.integer[Any]], height: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int64]:
    """A number (n,) for each size."""
    return width.astype(np.int64) << 32 | height.astype(np.int64)


def _after(steps: Sequence[Step], size: Size) -> Size:
    after = size
    shown = f"an image of {size.width}x{size.height}"
    for number, step in enumerate(steps):
        try:
            sizes = step.sizes_after(frozenset([after]))
        except ValueError as error:
            raise ValueError(f"{at_place(number, step)}: {error}") from None
        if sizes is None or len(sizes) != 1:
            raise ValueError(
                f'views="whole" groups images by the size that the index tells, but after {at_place(number, step)} '
                f"{shown} may have several; take steps that do not change sizes at random"
            )
        (after,) = sizes
    if not all(1 <= side <= LARGEST_WINDOW for side in after):
        raise ValueError(
            f'views="whole": {shown} by the index makes one of {after.width}x{after.height}, and 1 to {LARGEST_WINDOW} '
            "pixels are possible: select others"
        )
    return after
