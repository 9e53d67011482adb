"""A dataset in a local folder. Images are read by the decoder's own threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from genimage_stream.decode import FileRanges, FileSet
from genimage_stream.storage.memory import AtHand
from genimage_stream.storage.versions import LocalSnapshot, version_at
from genimage_stream.storage.within import local_file, need_possible_size

if TYPE_CHECKING:
    from genimage_stream.storage.store import Extents, SampleRanges, ShardContents


class LocalStore:
    def __init__(self, root: Path) -> None:
        self.name = str(root)
        self._root = root

    def local_path(self, path: str) -> str:
        return local_file(self._root, path)

    def size(self, path: str) -> int:
        return os.stat(self.local_path(path)).st_size

    def read(self, path: str) -> bytes:
        place = self.local_path(path)
        need_possible_size(place, os.stat(place).st_size)
        return Path(place).read_bytes()

    def read_range(self, path: str, offset: int, size: int) -> bytes:
        place = self.local_path(path)
        with open(place, "rb") as file:
            data = os.pread(file.fileno(), size, offset)
        if len(data) != size:
            raise OSError(
                f"{place} is too short: {size:,} bytes at {offset:,} are not all there; `shard-tools verify` lists "
                "what is damaged"
            )
        return data

    def snapshot(self, path: str) -> LocalSnapshot:
        return LocalSnapshot(self.local_path(path))

    def anew(self) -> LocalStore:
        return self

    def reader(self, shards: list[str], contents: Callable[[], ShardContents] | None = None) -> LocalReader:
        return LocalReader([self.local_path(shard) for shard in shards])


class LocalReader:
    """The shards as they are now: reading one that is replaced later is an error.

    Only where shards come in windows, the kernel is asked to read the next window's files front to back while this
    one is used, so that a spinning disk need not seek."""

    ahead = 0
    wants_order = False
    wants_parts = False  # the decoder's threads find them in the files' own tables

    def __init__(self, paths: list[str]) -> None:
        self._paths = paths
        self._files = FileSet(paths, versions=[version_at(path) for path in paths])
        self._windows: list[list[int]] = []
        self._window_of: dict[int, int] = {}
        self._asked = 0
        self._asker: ThreadPoolExecutor | None = None

    def begin(self, order: list[int], window: int | None, extents: Extents | None = None) -> None:
        self._windows = [] if window is None else [order[at : at + window] for at in range(0, len(order), window)]
        self._window_of = {shard: number for number, part in enumerate(self._windows) for shard in part}
        self._asked = 0

    def _read_ahead(self, shards: npt.NDArray[np.int32]) -> None:
        wanted = max((self._window_of.get(shard, 0) for shard in shards.tolist()), default=0) + 2
        while self._asked < min(wanted, len(self._windows)):
            if self._asker is None:  # asking blocks while the disk's queue is full
                self._asker = ThreadPoolExecutor(1, "genimage-stream-read-ahead")
            self._asker.submit(ask_kernel, [self._paths[shard] for shard in self._windows[self._asked]])
            self._asked += 1

    def request(self, ranges: SampleRanges) -> AtHand:
        if self._asked < len(self._windows):
            self._read_ahead(ranges.shards)
        return AtHand(FileRanges(self._files, ranges.shards, ranges.offsets, ranges.sizes, ranges.names))


def ask_kernel(paths: Sequence[str]) -> int:
    """Ask the kernel to read files into its cache, in this order, up to a quarter of the memory; returns the bytes
    asked for.

    A missing file is skipped: the decoder reports it when it is needed.
    """
    left = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
    asked = 0
    for path in paths:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe is not waited for
        except OSError:
            continue
        try:
            size = min(os.fstat(descriptor).st_size, left)
            os.posix_fadvise(descriptor, 0, size, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(descriptor)
        asked += size
        left -= size
    return asked
