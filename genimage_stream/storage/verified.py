"""Reading samples with every image's bytes compared with the index's hash before they are decoded."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import Future, ThreadPoolExecutor, wait
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from genimage_stream.decode import FileRanges

if TYPE_CHECKING:
    from collections.abc import Sequence

    from genimage_stream.storage.store import Extents, Reader, Request, SampleRanges, ShardContents


class VerifiedReader:
    """Around another reader of the `shards` that `contents` describe: whole images are read, and checked on `threads`
    threads, some batches ahead."""

    wants_parts = False

    def __init__(self, reader: Reader, shards: Sequence[str], contents: ShardContents, threads: int) -> None:
        self.ahead = max(reader.ahead, 2)
        self.wants_order = reader.wants_order
        self._reader = reader
        self._shards = shards
        self._contents = contents
        self._known: dict[int, tuple[npt.NDArray[np.int64], list[bytes]]] = {}
        self._pool = ThreadPoolExecutor(threads, "genimage-stream-verify")

    def begin(self, order: list[int], window: int | None, extents: Extents | None = None) -> None:
        self._reader.begin(order, window, extents)

    def request(self, ranges: SampleRanges) -> VerifiedRequest:
        ranges = ranges._replace(parts=None, names=None)  # the hash tells more than names
        places = list(zip(ranges.shards.tolist(), ranges.offsets.tolist(), strict=True))
        expected = [self._hash(*place) for place in places]
        names = [f"byte {offset} of {self._shards[shard]}" for shard, offset in places]
        return VerifiedRequest(self._reader.request(ranges), names, expected, self._pool)

    def _hash(self, shard: int, offset: int) -> bytes:
        if shard not in self._known:
            images = sorted(self._contents.images(shard))
            offsets = np.array([offset for offset, _, _ in images], np.int64)
            self._known[shard] = offsets, [_digest(sha256) for _, _, sha256 in images]
        offsets, hashes = self._known[shard]
        return hashes[int(np.searchsorted(offsets, offset))]


class VerifiedRequest:
    def __init__(self, inner: Request, names: list[str], expected: list[bytes], pool: ThreadPoolExecutor) -> None:
        self._inner = inner
        self._names = names
        self._expected = expected
        self._pool = pool
        self._checked: Future[list[Any]] | None = None

    def _begin(self) -> Future[list[Any]]:
        if self._checked is None:
            self._checked = self._pool.submit(self._check)
        return self._checked

    def ready(self) -> bool:
        return self._inner.ready() and self._begin().done()

    def wait(self, timeout: float) -> bool:
        until = monotonic() + timeout
        return self._inner.wait(timeout) and bool(wait([self._begin()], max(0.0, until - monotonic())).done)

    def source(self) -> list[Any]:
        return self._begin().result()

    def cancel(self) -> None:
        self._inner.cancel()
        if self._checked is not None:
            self._checked.cancel()

    def seconds(self) -> float:
        return self._inner.seconds()

    def _check(self) -> list[Any]:
        source = self._inner.source()
        data: list[Any] = (
            [_read(source, i) for i in range(len(source))] if isinstance(source, FileRanges) else list(source)
        )
        for one, name, expected in zip(data, self._names, self._expected, strict=True):
            if hashlib.sha256(one).digest() != expected:
                raise OSError(
                    f"the image at {name} is not the one that was packed (its SHA-256 is another); "
                    "`shard-tools verify` tells whether the dataset is damaged, and `genimage-stream cache clear` "
                    "removes damaged copies from a cache"
                )
        return data


def _digest(sha256: Any) -> bytes:
    """A hash of the index; of what is none, one that nothing has."""
    try:
        return bytes.fromhex(sha256)
    except (TypeError, ValueError):
        return b""


def _read(ranges: FileRanges, i: int) -> bytes:
    place, size = str(ranges.files.path(int(ranges.file_index[i]))), int(ranges.size[i])
    descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        data = os.pread(descriptor, size, int(ranges.offset[i]))
    finally:
        os.close(descriptor)
    if len(data) != size:
        raise OSError(f"{place} is shorter than its index says: copy or pack it again")
    return data
