"""Samples' bytes from an object store or web server, requested some batches ahead of the decoder."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from genimage_stream.decode import PartialBytes
from genimage_stream.storage.errors import StoreError
from genimage_stream.storage.event_loop import hand_over, run
from genimage_stream.storage.ranges import Wanted, coalesce, wanted
from genimage_stream.storage.tar_headers import describes, mismatch

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from genimage_stream.storage.store import Extents, SampleRanges

log = logging.getLogger("genimage_stream")

#: Reads bytes start .. end of a file.
ReadRange = Callable[[str, int, int], Coroutine[Any, Any, memoryview]]


class RemoteReader:
    """Fetches batches' bytes into memory, some batches ahead of the decoder. `name` is the store's, for messages."""

    ahead = 6
    wants_parts = True
    wants_order = False

    def __init__(self, read_range: ReadRange, name: str, shards: list[str]) -> None:
        self._read_range = read_range
        self._name = name
        self._shards = shards

    def begin(self, order: list[int], window: int | None, extents: Extents | None = None) -> None:
        if extents is not None:
            log.warning(
                'shuffle="nodes" keeps shards in a cache, and %s was opened without one: '
                "gs.open_dataset(..., cache_dir=DIR)",
                self._name,
            )

    def request(self, ranges: SampleRanges) -> RemoteRequest:
        return RemoteRequest(self._samples(wanted(ranges)))

    async def _samples(self, samples: list[Wanted]) -> list[Buffer | PartialBytes]:
        pieces = [(sample.shard, *piece) for sample in samples for piece in sample.pieces()]
        found = iter(await self._fetch(*map(list, zip(*pieces, strict=True))) if pieces else ())
        return [self._put_together(sample, [next(found) for _ in sample.pieces()]) for sample in samples]

    def _put_together(self, sample: Wanted, pieces: list[memoryview]) -> Buffer | PartialBytes:
        if sample.name is not None and sample.size > 0:
            header = pieces[0][: sample.lead]
            if not describes(header, sample.name, sample.size):
                shard = f"{self._name}/{self._shards[sample.shard]}"
                raise StoreError(mismatch(shard, header, sample.name, sample.size, sample.offset))
        pieces[0] = pieces[0][sample.lead :]
        if sample.parts is None:
            return pieces[0]
        start = sample.offset

        def whole() -> memoryview:
            return run(self._read_range(self._shards[sample.shard], start, start + sample.size))

        return PartialBytes(sample.size, pieces[0], pieces[1], sample.parts[1], whole)

    async def _fetch(self, shards: list[int], offsets: list[int], sizes: list[int]) -> list[memoryview]:
        """Pieces of shards, in the order in which they are asked for."""
        found: list[memoryview] = [memoryview(b"")] * len(shards)

        async def part(shard: int, start: int, end: int, members: list[int]) -> None:
            data = await self._read_range(self._shards[shard], start, end)
            for i in members:
                found[i] = data[offsets[i] - start : offsets[i] - start + sizes[i]]

        parts = [part(*span) for span in coalesce(shards, offsets, sizes)]
        tasks = [asyncio.ensure_future(one) for one in parts]
        try:
            await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            raise
        return found


class RemoteRequest:
    def __init__(self, fetch: Coroutine[Any, Any, list[Buffer | PartialBytes]]) -> None:
        self._began = time.perf_counter()
        self._ended = 0.0
        self._future = hand_over(fetch)
        self._future.add_done_callback(self._end)

    def _end(self, _: object) -> None:
        self._ended = time.perf_counter()

    def ready(self) -> bool:
        return self._future.done()

    def wait(self, timeout: float) -> bool:
        return bool(concurrent.futures.wait([self._future], timeout).done)

    def source(self) -> list[Buffer | PartialBytes]:
        return self._future.result()

    def cancel(self) -> None:
        self._future.cancel()

    def seconds(self) -> float:
        return (self._ended or time.perf_counter()) - self._began
