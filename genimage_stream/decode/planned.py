"""What transforms planned for the images of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from genimage_stream.decode import _core


class PlannedSteps(NamedTuple):
    """What becomes of n images, each of which is decoded once.

    `lists`: of each picture the core's steps with the values drawn for it, image by image. `sizes` int32 (n, 2): the
    (width, height) of the images that they were planned for. `first` int32 (n + 1,): the pictures of image i are those
    from `first[i]` to `first[i + 1]`; None: each image gives one.
    """

    lists: Sequence[Sequence[_core.Step]]
    sizes: npt.NDArray[np.int32]
    first: npt.NDArray[np.int32] | None = None

    @property
    def firsts(self) -> npt.NDArray[np.int32]:
        """`first`, also where each image gives one picture."""
        return np.arange(len(self.sizes) + 1, dtype=np.int32) if self.first is None else self.first

    def without_finishing(self) -> tuple[PlannedSteps, list[list[_core.Step]] | None]:
        """The steps that act on pixels, and those that act on normalised values; None: there are none."""
        late: list[list[_core.Step]] = [
            [step for step in steps if isinstance(step, _core.FinishingStep)] for steps in self.lists
        ]
        if not any(late):
            return self, None
        early = [[step for step in steps if not isinstance(step, _core.FinishingStep)] for steps in self.lists]
        return self._replace(lists=early), late

    def part(self, start: int, stop: int) -> PlannedSteps:
        """The images from `start` to `stop`."""
        if self.first is None:
            return PlannedSteps(self.lists[start:stop], self.sizes[start:stop])
        first = self.first[start : stop + 1]
        return PlannedSteps(self.lists[first[0] : first[-1]], self.sizes[start:stop], first - first[0])

    def rows_needed(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Of each image the first row of pixels that its steps need, and how many from there on."""
        firsts = self.firsts
        if not len(self.lists):
            return firsts[:-1], firsts[:-1]
        needed = _core.steps_need(self.lists, np.repeat(self.sizes, np.diff(firsts), axis=0))
        tops = np.minimum.reduceat(needed[:, 1], firsts[:-1])
        return tops, np.maximum.reduceat(needed[:, 1] + needed[:, 3], firsts[:-1]) - tops


def interleaved(plans: Sequence[PlannedSteps]) -> PlannedSteps:
    """Plans for the same n images, a picture of each, as one: all pictures of the first image, then of the second."""
    lists = [steps for of_image in zip(*(plan.lists for plan in plans), strict=True) for steps in of_image]
    sizes = plans[0].sizes
    return PlannedSteps(lists, sizes, np.arange(0, len(lists) + 1, len(plans), dtype=np.int32))
