"""What the index says of every sample, as an epoch needs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from genimage_stream.dataset.access import Access
from genimage_stream.storage.tar_headers import BLOCK
from genimage_stream.transforms.apply import draws_for
from genimage_stream.transforms.chance import Chances
from genimage_stream.transforms.plan import plan_samples
from genimage_stream.transforms.step import Size

if TYPE_CHECKING:
    from genimage_stream.decode import PlannedSteps
    from genimage_stream.storage.segments import SegmentTable
    from genimage_stream.transforms.step import Draw, Step


@dataclass(frozen=True)
class SampleTable:
    """Arrays (rows,) over the whole index; `chosen`: the dataset's rows of it, rising, None for all."""

    chosen: npt.NDArray[np.int64] | None

    shard: npt.NDArray[np.int32]
    shard_paths: list[str]
    offset: npt.NDArray[np.int64]
    size: npt.NDArray[np.int64]
    width: npt.NDArray[np.integer[Any]]
    height: npt.NDArray[np.integer[Any]]
    label: npt.NDArray[np.int32]  # codes of the index
    generator: npt.NDArray[np.int32]  # codes of the index, places in dataset.generators
    label_number: npt.NDArray[np.int64]  # of each label's code: 0 real, 1 fake
    label_names: list[str]  # of each label's code
    generator_names: list[str]
    split: npt.NDArray[np.int32]  # codes of the index
    split_names: list[str]
    hashes: Callable[[], npt.NDArray[np.uint64]]  # the first 64 bits of each original's sha256
    segments: SegmentTable | None  # where parts of images are read, and the index has them

    def extents(self, rows: npt.NDArray[np.int64]) -> dict[int, tuple[int, int]]:
        """By shard the bytes, from first to one past the last, that hold these samples and their tar headers."""
        found: dict[int, tuple[int, int]] = {}
        for shard in np.unique(self.shard[rows]).tolist():
            here = rows[self.shard[rows] == shard]
            begin = int(self.offset[here].min()) - BLOCK
            found[shard] = max(0, begin), int((self.offset[here] + self.size[here]).max())
        return found

    @classmethod
    def of(cls, access: Access, *, parts: bool) -> SampleTable:
        """Read it from the index; `parts`: also which bytes of an image a window needs."""
        columns = access.columns
        columns.load("shard", "offset", "size", "width", "height", "label", "generator", "split")
        shard, paths = access.shards()
        offset, size = columns.numbers("offset", "size")
        width, height = columns.native("width", "height")
        return cls(
            access.chosen,
            shard,
            paths,
            offset,
            size,
            width,
            height,
            label=columns.words("label")[0],
            generator=columns.words("generator")[0],
            label_number=access.label_numbers(),
            label_names=columns.words("label")[1],
            generator_names=columns.words("generator")[1],
            split=columns.words("split")[0],
            split_names=columns.words("split")[1],
            hashes=columns.hashes,
            segments=columns.segments() if parts else None,
        )

    def chances(
        self, rows: npt.NDArray[np.int64], visits: npt.NDArray[np.int64] | int, seed: int, epoch: int
    ) -> Chances:
        """What the random values of some samples are drawn by, in one epoch."""
        return Chances(seed, epoch, np.broadcast_to(visits, rows.shape), lambda: self.hashes()[rows])

    def sizes(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """(n, 2): width and height of images."""
        return np.stack([self.width[rows], self.height[rows]], axis=1).astype(np.int64)

    def plan(self, steps: Sequence[Step], chances: Chances, rows: npt.NDArray[np.int64]) -> PlannedSteps:
        """What the steps make of some samples, as the chances draw it."""
        labels = self.label[rows].astype(np.int64), self.label_names
        generators = self.generator[rows].astype(np.int64), self.generator_names
        splits = self.split[rows].astype(np.int64), self.split_names
        return plan_samples(steps, chances, self.sizes(rows), labels, generators, splits)

    def draws(self, steps: Sequence[Step], chances: Chances, rows: npt.NDArray[np.int64]) -> list[list[Draw]]:
        """What `plan` draws for each: one JSON-able dict per step."""
        return [
            draws_for(
                steps,
                chances.of(i),
                Size(*size),
                self.label_names[self.label[row]],
                self.generator_names[self.generator[row]],
                self.split_names[self.split[row]],
            )
            for i, (row, size) in enumerate(zip(rows.tolist(), self.sizes(rows).tolist(), strict=True))
        ]

    def places(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Rows of the index as places in the dataset."""
        return rows if self.chosen is None else np.searchsorted(self.chosen, rows)
