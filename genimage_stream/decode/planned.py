"""What transforms planned for the images of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from genimage_stream.decode import _core


class PlannedSteps(NamedTuple):
    """What becomes of n images: of each the core's steps with the values drawn for it, and `sizes` int32 (n, 2), the
    (width, height) they were planned for."""

    lists: Sequence[Sequence[_core.Step]]
    sizes: npt.NDArray[np.int32]

    def part(self, which: slice) -> PlannedSteps:
        return PlannedSteps(self.lists[which], self.sizes[which])

    def needed(self) -> npt.NDArray[np.int32]:
        """(n, 4): the rectangle (x, y, width, height) of each image that its steps need."""
        return _core.steps_need(self.lists, self.sizes)


def interleaved(plans: Sequence[PlannedSteps]) -> PlannedSteps:
    """Plans for the same n images as one of n * len(plans): all of the first image, then all of the second."""
    lists = [steps for of_image in zip(*(plan.lists for plan in plans), strict=True) for steps in of_image]
    return PlannedSteps(lists, np.repeat(plans[0].sizes, len(plans), axis=0))
