"""What the index says of every sample, as an epoch needs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from genimage_stream.dataset.access import Access

if TYPE_CHECKING:
    from genimage_stream.storage.segments import SegmentTable


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
    segments: SegmentTable | None  # where parts of images are read, and the index has them

    @classmethod
    def of(cls, access: Access, *, parts: bool) -> SampleTable:
        """Read it from the index; `parts`: also which bytes of an image a window needs."""
        columns = access.columns
        columns.load("shard", "offset", "size", "width", "height", "label", "generator")
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
            segments=columns.segments() if parts else None,
        )

    def places(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Rows of the index as places in the dataset."""
        return rows if self.chosen is None else np.searchsorted(self.chosen, rows)
