"""The order and the steps of images of unlike sizes: by size, so that each batch is one tensor."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from genimage_stream.order.plan import Rows


def order_by_size(rows: Rows, sizes: npt.NDArray[np.integer[Any]]) -> tuple[Rows, Rows]:
    """Rising `rows` (n,) by their `sizes` (n, 2) (height, width), those of one size by row; and where in this order
    the sizes begin."""
    places = np.lexsort((sizes[:, 1], sizes[:, 0]))
    ordered = sizes[places]
    changes = np.flatnonzero((ordered[1:] != ordered[:-1]).any(axis=1)) + 1
    return rows[places], np.concatenate([[0], changes]).astype(np.int64)


class SizedSteps:
    """How samples in the order of their sizes, from place `start` on, are cut into steps and ranks: `Steps` for batches
    of one size each. `begins`: where the sizes begin.

    Each size's samples are cut into batches, of which the first takes what does not fill one. In every step the ranks
    take the next batches of the order, one each. Where the number of batches is no multiple of the ranks, the first
    batches give single samples off, until it is one: every rank runs the same number of steps, and none has an empty
    batch unless all batches hold one sample. Then the last ranks have an empty one in the last step.

    What a step takes depends only on what is left, so a run that goes on in between agrees.
    """

    def __init__(self, begins: Rows, samples: int, batch_size: int, world_size: int = 1, start: int = 0) -> None:
        self.samples, self.batch_size, self.world_size, self.start = samples, batch_size, world_size, start
        self._begins = begins
        firsts = np.maximum(begins[np.searchsorted(begins, start, "right") - 1 :], start)
        ends = np.append(firsts[1:], samples)
        counts = -(-(ends - firsts) // batch_size)
        size = np.repeat(np.arange(len(firsts)), counts)
        later = np.repeat(np.cumsum(counts), counts) - np.arange(len(size)) - 1  # batches of the size that come after
        cuts = ends[size] - later * batch_size  # where each batch ends
        self._cuts = self._shared(np.concatenate([[start], cuts]))
        self.empty = -(len(self._cuts) - 1) % world_size
        self._cuts = np.concatenate([self._cuts, np.full(self.empty, samples)])

    def _shared(self, cuts: Rows) -> Rows:
        """With more cuts, so that each rank gets as many batches, as far as there are batches to be divided."""
        wanted = -(len(cuts) - 1) % self.world_size
        more: list[int] = []
        for batch in np.flatnonzero(np.diff(cuts) > 1)[:wanted].tolist():
            first, end = int(cuts[batch]), int(cuts[batch + 1])
            taken = min(wanted - len(more), end - first - 1)
            more += range(end - taken, end)
        return np.sort(np.concatenate([cuts, np.array(more, np.int64)]))

    def __len__(self) -> int:
        return (len(self._cuts) - 1) // self.world_size

    @cached_property
    def before(self) -> int:
        """Steps of the epoch that come before `start`."""
        if not self.start:
            return 0
        return max(0, len(SizedSteps(self._begins, self.samples, self.batch_size, self.world_size)) - len(self))

    def bounds(self, step: int) -> tuple[int, int]:
        """First and one past the last place of a step's samples in the order."""
        if not 0 <= step < len(self):
            raise IndexError(f"step {step} of {len(self)}")
        return int(self._cuts[step * self.world_size]), int(self._cuts[(step + 1) * self.world_size])

    def part(self, step: int, rank: int) -> tuple[int, int]:
        """First and one past the last place of a rank's samples in the order."""
        if not 0 <= rank < self.world_size:
            raise IndexError(f"rank {rank} of {self.world_size}")
        self.bounds(step)
        at = step * self.world_size + rank
        return int(self._cuts[at]), int(self._cuts[at + 1])
