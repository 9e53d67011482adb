"""One sample, for looking at: its image, what it is, and all that the index says of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from genimage_stream.decode import DecodeError, decode
from genimage_stream.page.picture import encode_png, shrink
from genimage_stream.storage.tar_headers import read_member

if TYPE_CHECKING:
    from genimage_stream.dataset.access import Access

_SHOWN = 512  # pixels of the longer side in a notebook


@dataclass(frozen=True, eq=False)
class Sample:
    """`dataset[i]` or `dataset["key"]`; in notebooks it shows its image.

    `row`: its place in the dataset. `label`: "real" or "fake"; `generator`: the subset's name, for reals too; `facts`:
    everything that the index says. `data`: the stored file, a JPEG or PNG.
    """

    row: int
    key: str
    label: str
    generator: str
    facts: dict[str, Any] = field(repr=False)
    data: bytes = field(repr=False)

    @cached_property
    def image(self) -> npt.NDArray[np.uint8]:
        """The decoded image, (height, width, 3) uint8. Raises DecodeError when it does not decode, or has not the size
        that the index says."""
        try:
            image = decode(self.data)
        except DecodeError as error:
            raise DecodeError(f"sample {self.key!r}: {error}") from error
        height, width = image.shape[:2]
        if (width, height) != (said := (self.facts["width"], self.facts["height"])):
            raise DecodeError(
                f"sample {self.key!r}: the image has {width}x{height} pixels, but the index says {said[0]}x{said[1]}: "
                "the index and the file disagree, `shard-tools verify` lists all such samples"
            )
        return image

    def _repr_png_(self) -> bytes:
        return encode_png(shrink(self.image, _SHOWN))


def read_sample(access: Access, row: int) -> Sample:
    """The sample at a place in the selection. Raises OSError when its shard cannot be read."""
    at = access.rows[row : row + 1]
    columns = access.columns
    facts = {name: columns.part(name, at)[0].as_py() for name in columns.names if name != "segments"}
    name = facts["key"].encode() + b"."
    data = read_member(access.store, facts["shard"], name, facts["offset"], facts["size"])
    return Sample(row, facts["key"], facts["label"], facts["generator"], facts, data)


def row_of_key(access: Access, key: str) -> int:
    """The place of a key in the selection. Raises KeyError, saying whether it is elsewhere in the dataset."""
    index_row = access.columns.row_of_key(key)
    if index_row is None:
        raise KeyError(f"{access.store.name} has no sample {key!r}")
    row = index_row if access.chosen is None else int(np.searchsorted(access.chosen, index_row))
    if access.chosen is not None and (row == len(access.chosen) or access.chosen[row] != index_row):
        raise KeyError(f"{key!r} is in {access.store.name}, but not in this selection of it")
    return row
