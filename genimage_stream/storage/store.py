"""The seam of storage: what is read from the place of one dataset, wherever that is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from genimage_stream.decode import FileRanges, PartialBytes

Extents = Mapping[int, tuple[int, int]]  # by shard: (first byte, one past the last)
Spans = Sequence[tuple[int, int]]  # of a file: (first byte, one past the last)


@dataclass(frozen=True)
class ShardContents:
    """What an index says of the shards of a reader, which are known by their places in its list.

    `identity` tells this dataset from another one at the same address. `ends`: of each shard, one past the last byte of
    its last image. `images(shard)`: (offset, size, SHA-256 of the stored bytes) of each image.
    """

    identity: str
    ends: Sequence[int]
    images: Callable[[int], Sequence[tuple[int, int, str]]]


class SampleRanges(NamedTuple):
    """Where n samples are: `shards` (n,) places in a reader's list, `offsets` and `sizes` (n,) in bytes; `parts` (n, 3)
    as by `SegmentTable.needed`, None when all of each sample is needed. `names`: how the name of each in its tar
    begins, for which the header before it is read and compared; None: it is not."""

    shards: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    parts: npt.NDArray[np.int64] | None = None
    names: Sequence[bytes] | None = None


class Request(Protocol):
    """The bytes of one batch, asked for."""

    def ready(self) -> bool:
        """Whether `source` answers at once."""

    def wait(self, timeout: float) -> bool:
        """Wait until ready, at most `timeout` seconds."""

    def source(self) -> Sequence[Buffer | PartialBytes] | FileRanges:
        """What `BatchDecoder.submit` takes. Raises OSError, naming file and reason, when the bytes did not come."""

    def cancel(self) -> None: ...

    def seconds(self) -> float:
        """Time spent on fetching so far; what the decoder's threads read themselves is counted by the decoder."""


class Reader(Protocol):
    """Fetches samples' bytes from a fixed list of shards.

    `ahead`: batches to request beyond those being decoded. `wants_parts`: it reads parts of images, so ranges should
    have `parts`. `wants_order`: `begin` is called in every epoch, otherwise only when shards come in windows.
    """

    ahead: int
    wants_parts: bool
    wants_order: bool

    def begin(self, order: list[int], window: int | None, extents: Extents | None = None) -> None:
        """Begin an epoch in which shards come in this order, `window` of them at a time; None: all at once.

        `extents`: these are the shards that this machine keeps, so they are read from a cache alone; and of shards of
        which it keeps only a part, where that part is."""

    def request(self, ranges: SampleRanges) -> Request: ...


class Snapshot(Protocol):
    """A file as it was when it was opened. `size` in bytes; `version` tells it from others, in any process."""

    size: int
    version: str

    def read_spans(self, spans: Spans) -> Buffer:
        """Spans of the file, in their places in `size` bytes of memory; the rest is zeros, and free.

        Goes on with this version when another takes the file's place. Raises ChangedError when it is gone.
        """

    def version_now(self) -> str:
        """The version of the file that is there now."""

    def keep(self) -> None:
        """Begin to copy the file here, where it is not open anyway, so that this version stays."""


class Store(Protocol):
    """The files of one dataset, by paths within it, for reading. Missing ones raise FileNotFoundError that names them.

    `name` is the folder or address. Files of a store elsewhere that change while it is open raise ChangedError.
    """

    name: str

    def local_path(self, path: str) -> str | None:
        """The file's place on a local disk, where it may be missing; None when the store is not on one.

        Raises OSError when a link leads out of the dataset or it is not a regular file.
        """

    def size(self, path: str) -> int: ...

    def read(self, path: str) -> bytes | bytearray:
        """A whole file."""

    def read_range(self, path: str, offset: int, size: int) -> bytes:
        """`size` bytes of a file. Raises OSError when they are not all there."""

    def snapshot(self, path: str) -> Snapshot: ...

    def anew(self) -> Store:
        """The same place, with nothing remembered of the versions of its files."""

    def reader(self, shards: list[str], contents: Callable[[], ShardContents] | None = None) -> Reader:
        """A reader of these shards. Given their `contents`, it reads through the store's cache, if it has one."""
