"""Storage alone: the bytes of samples, read and discarded.

The operating system keeps files that were read in memory (the page cache), so a second read does not measure the disk.
Before the random reads all shards are dropped from that cache, and before each piece of them the shards that it touches
(`page_cache.py`); mincore shows whether that worked. A second read of the same bytes gives the speed of the page cache
itself. Caches of the disk or of a host are not emptied.
"""

from __future__ import annotations

import os
from collections import OrderedDict, deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from genimage_stream.bench import page_cache
from genimage_stream.bench.rate import Meter, Rate, now
from genimage_stream.storage.store import SampleRanges

if TYPE_CHECKING:
    from genimage_stream.dataset.dataset import Dataset
    from genimage_stream.storage.store import Request

PROBES = 256
CHUNK = 64  # samples of one thread between two looks at the clock
BLOCK = 1 << 20  # bytes of one sequential read
OPEN_FILES = 256
BATCH = 64  # samples of one request to an object store
OPENING_SECONDS = 30  # to wait for its first answers


@dataclass(frozen=True)
class Storage:
    """Speeds of storage. `cached_share`: the share of samples that was in the page cache beforehand; None: unknown.

    `random`: samples at random places, not from the page cache where it can be emptied; `cached`: the same from the
    page cache; `sequential`: whole shards front to back. None where it does not apply, for one of the `notes`.
    `threads` read at once; 0: an object store, as many requests as the loader keeps in flight.
    """

    random: Rate | None
    cached: Rate | None
    sequential: Rate | None
    cached_share: float | None
    threads: int
    notes: list[str]


class LocalFiles:
    """Shards of a local dataset, opened on demand, a bounded number at a time. For one thread."""

    def __init__(self, paths: Sequence[str], open_files: int = OPEN_FILES) -> None:
        self._paths = paths
        self._open_files = open_files
        self._open: OrderedDict[int, int] = OrderedDict()

    def descriptor(self, shard: int) -> int:
        if shard in self._open:
            self._open.move_to_end(shard)
        else:
            if len(self._open) >= self._open_files:
                os.close(self._open.popitem(last=False)[1])
            self._open[shard] = os.open(self._paths[shard], os.O_RDONLY)
        return self._open[shard]

    def close(self) -> None:
        while self._open:
            os.close(self._open.popitem()[1])

    def read(self, shard: int, offset: int, size: int) -> int:
        """Bytes read. Raises OSError when the shard ends before."""
        got = len(os.pread(self.descriptor(shard), size, offset))
        if got != size:
            raise OSError(
                f"{self._paths[shard]} is too short for the index: `shard-tools verify` lists what is damaged"
            )
        return got

    def forget(self, shard: int) -> None:
        """Drop a shard from the page cache."""
        page_cache.drop(self.descriptor(shard))

    def write_back(self, shard: int) -> None:
        """Write a shard that was packed just now to disk: dirty pages cannot be dropped."""
        page_cache.write_back(self.descriptor(shard))

    def is_cached(self, shard: int, offset: int, size: int) -> bool | None:
        """Whether the middle of these bytes is in the page cache; None where that is unknown."""
        return page_cache.is_resident(self.descriptor(shard), offset + size // 2)


Ranges = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]


def measure_storage(dataset: Dataset, *, seconds: float, threads: int, seed: int) -> Storage:
    """Read samples at random, then again, then shards front to back, each for about `seconds`. Raises OSError."""
    codes, paths = dataset.access.shards()
    offsets, sizes = dataset.access.columns.numbers("offset", "size")
    rows = np.random.default_rng(seed).permutation(dataset.access.rows)
    ranges = codes[rows].astype(np.int64), offsets[rows], sizes[rows]
    places = [dataset.access.store.local_path(path) for path in paths]
    local = [place for place in places if place is not None]
    if len(local) < len(places):
        note = (
            "The dataset is on an object store or web server: sequential reads and the page cache do not apply, and "
            "storage alone is measured without a local cache."
        )
        random = _remote(dataset, paths, ranges, seconds)
        return Storage(random, None, None, None, 0, [note])
    notes: list[str] = []
    files = LocalFiles(local)
    try:
        cached_share = _cached_share(files, ranges)
        for shard in np.unique(ranges[0]).tolist():
            files.write_back(shard)
            files.forget(shard)
        random, cached, dropped = _random(local, ranges, seconds, threads)
        if not dropped:
            notes.append(
                "The page cache could not be emptied here (files not yet written to the disk, a file system in memory, "
                "or one that does not report its cached pages): reads may have come from memory."
            )
        sequential = _sequential(files, np.unique(ranges[0]), np.bincount(codes, minlength=len(paths)), seconds)
    finally:
        files.close()
    return Storage(random, cached, sequential, cached_share, threads, notes)


def cached_share(dataset: Dataset, *, seed: int) -> float | None:
    """The share of PROBES random samples that is in the page cache; None when that is unknown.

    This changes nothing: the same seed gives the same answer until something reads the files.
    """
    codes, paths = dataset.access.shards()
    offsets, sizes = dataset.access.columns.numbers("offset", "size")
    places = [dataset.access.store.local_path(path) for path in paths]
    local = [place for place in places if place is not None]
    if len(local) < len(places):
        return None
    rows = np.random.default_rng(seed).choice(dataset.access.rows, min(PROBES, len(dataset)), replace=False)
    files = LocalFiles(local)
    try:
        return _cached_share(files, (codes[rows].astype(np.int64), offsets[rows], sizes[rows]))
    finally:
        files.close()


def _cached_share(files: LocalFiles, ranges: Ranges) -> float | None:
    answers = [files.is_cached(*(int(column[i]) for column in ranges)) for i in range(min(PROBES, len(ranges[0])))]
    known = [answer for answer in answers if answer is not None]
    return sum(known) / len(known) if known else None


def _random(paths: list[str], ranges: Ranges, seconds: float, threads: int) -> tuple[Rate | None, Rate | None, bool]:
    """(from storage, from the page cache, whether the cache could be emptied), with `threads` readers at once.

    Ends when the reads from storage took `seconds`; those from the cache are as many, and faster.
    """
    first, second = Meter(), Meter()
    shards, offsets, sizes = ranges
    count = len(shards)
    kept = asked = 0
    readers = [LocalFiles(paths) for _ in range(threads)]
    began, at = now(), 0

    def each(reader: LocalFiles, mine: list[tuple[int, int, int]]) -> int:
        return sum(reader.read(*one) for one in mine)

    with ThreadPoolExecutor(threads) as pool:
        while first.seconds < seconds and now() - began < 2 * seconds:
            taken = np.arange(at, at + min(CHUNK * threads, count)) % count
            at = (at + len(taken)) % count
            chunk = [(int(shards[i]), int(offsets[i]), int(sizes[i])) for i in taken]
            parts = [chunk[i::threads] for i in range(threads)]
            for shard in {one[0] for one in chunk}:
                readers[0].forget(shard)
            probed = [readers[0].is_cached(*one) for one in parts[0][:4]]
            asked += len(probed)
            kept += sum(answer is not False for answer in probed)
            for meter in (first, second):
                start = now()
                got = sum(pool.map(each, readers, parts))
                meter.add(now() - start, len(chunk), got)
    for reader in readers:
        reader.close()
    return first.rate(), second.rate(), kept < asked / 2


def _sequential(
    files: LocalFiles, shards: npt.NDArray[np.int64], samples: npt.NDArray[np.int64], seconds: float
) -> Rate | None:
    """Whole shards front to back by one reader; a piece of a shard counts as its share of the samples."""
    meter = Meter()
    began = now()
    for shard in cycle(shards.tolist()):
        length = os.fstat(files.descriptor(shard)).st_size
        files.forget(shard)
        offset, counted = 0, 0
        while offset < length and meter.seconds < seconds:
            start = now()
            got = len(os.pread(files.descriptor(shard), BLOCK, offset))
            spent = now() - start
            if not got:
                break
            offset += got
            whole = int(samples[shard]) * offset // length
            meter.add(spent, whole - counted, got)
            counted = whole
        if meter.seconds >= seconds or now() - began >= 4 * seconds:
            break
    return meter.rate()


def _remote(dataset: Dataset, paths: list[str], ranges: Ranges, seconds: float) -> Rate | None:
    """Samples at random from an object store, as many requests in flight as the loader keeps.

    The first requests open connections; the clock starts when they are through.
    """
    meter = Meter()
    reader = dataset.access.store.reader(paths)
    waiting: deque[tuple[Request, int]] = deque()
    count, at = len(ranges[0]), 0
    to_open = reader.ahead + 1
    began = last = now()
    while meter.seconds < seconds and now() - began < 4 * seconds + OPENING_SECONDS:
        while len(waiting) <= reader.ahead:
            taken = np.arange(at, at + min(BATCH, count)) % count
            at = (at + len(taken)) % count
            shards, offsets, sizes = (column[taken] for column in ranges)
            waiting.append((reader.request(SampleRanges(shards.astype(np.int32), offsets, sizes)), int(sizes.sum())))
        request, size_bytes = waiting.popleft()
        while not request.ready():
            request.wait(1.0)
        request.source()
        if to_open:
            to_open -= 1
        else:
            meter.add(now() - last, min(BATCH, count), size_bytes)
        last = now()
    for request, _ in waiting:
        request.cancel()
    return meter.rate()
