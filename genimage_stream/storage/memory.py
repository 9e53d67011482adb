"""Bytes that need no fetching: requests for local files, and samples that were read into memory beforehand."""

from __future__ import annotations

import mmap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genimage_stream.decode import FileRanges
    from genimage_stream.storage.store import Extents, SampleRanges


class AtHand:
    """A request that is ready when it is made."""

    def __init__(self, source: Sequence[bytes] | FileRanges) -> None:
        self._source = source

    def ready(self) -> bool:
        return True

    def wait(self, timeout: float) -> bool:
        return True

    def source(self) -> Sequence[bytes] | FileRanges:
        return self._source

    def cancel(self) -> None:
        pass

    def seconds(self) -> float:
        return 0.0


def sparse_memory(size: int) -> mmap.mmap:
    """`size` bytes, at least one, that read as zeros and take no memory until they are written."""
    return mmap.mmap(-1, max(1, size), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


class MemoryReader:
    """Reads samples from memory: `data` maps (shard, offset) to the bytes of the sample there."""

    ahead = 0
    wants_order = False
    wants_parts = False

    def __init__(self, data: Mapping[tuple[int, int], bytes]) -> None:
        self._data = data

    def begin(self, order: list[int], window: int | None, extents: Extents | None = None) -> None:
        pass

    def request(self, ranges: SampleRanges) -> AtHand:
        return AtHand([self._data[at] for at in zip(ranges.shards.tolist(), ranges.offsets.tolist(), strict=True)])
