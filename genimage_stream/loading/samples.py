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
    """Arrays (rows,) over the whole index."""

    shard: npt.NDArray[np.int32]
    shard_paths: list[str]
    offset: npt.NDArray[np.int64]
    size: npt.NDArray[np.int64]
    width: npt.NDArray[np.integer[Any]]
    height: npt.NDArray[np.integer[Any]]
    label: npt.NDArray[np.int32]  # codes of the index, which the next two turn into the batch's
    generator: npt.NDArray[np.int32]
    label_number: npt.NDArray[np.int64]  # of each label's code: 0 real, 1 fake
    fake_number: npt.NDArray[np.int64]  # of each generator's code
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
            shard,
            paths,
            offset,
            size,
            width,
            height,
            label=columns.words("label")[0],
            generator=columns.words("generator")[0],
            label_number=access.label_numbers(),
            fake_number=np.arange(1, len(columns.words("generator")[1]) + 1),
            segments=columns.segments() if parts else None,
        )
