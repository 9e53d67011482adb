"""Reading an object store through a cache of shards on a local disk.

With shuffle="shards" or False the cache works ahead of the consumer: it downloads whole shards, front to back, in the
order in which they come, the next window while this one is read. The first window is read by single ranges, so that the
first batch does not wait for gigabytes; its shards are downloaded last, if there is room. With shuffle=True every batch
touches as many shards as it has samples; then single ranges are fetched as without a cache, and the cache fills in the
background as long as there is room.
"""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genimage_stream.storage.cache import CachedShard, Download, ShardCache
from genimage_stream.storage.errors import StoreError
from genimage_stream.storage.event_loop import run
from genimage_stream.storage.ranges import CHUNK_BYTES
from genimage_stream.storage.remote import RemoteStore
from genimage_stream.storage.remote_reader import RemoteReader
from genimage_stream.storage.shard_checks import check_shard

if TYPE_CHECKING:
    from genimage_stream.storage.store import ShardContents

log = logging.getLogger("genimage_stream")

FILLS = 2  # shards downloaded at once; each of them by parallel ranges
_POLL_SECONDS = 0.1


class CachedStore(RemoteStore):
    """A store whose readers go through a cache in `folder` of at most `size_bytes` over all datasets, when they are
    told the shards' contents."""

    def __init__(self, address: str, options: dict[str, Any] | None, folder: str | Path, size_bytes: int) -> None:
        super().__init__(address, options)
        self._folder, self._size_bytes = folder, size_bytes

    def reader(self, shards: list[str], contents: Callable[[], ShardContents] | None = None) -> RemoteReader:
        if contents is None:
            return super().reader(shards)
        known = contents()
        # A dataset that was packed anew at the same address shares nothing with the old one.
        name = f"{self.name}\n{known.identity}"
        return CachedReader(self, ShardCache(self._folder, self._size_bytes, name), shards, known)


class CachedReader(RemoteReader):
    wants_order = True

    def __init__(self, store: RemoteStore, cache: ShardCache, shards: list[str], contents: ShardContents) -> None:
        super().__init__(store.async_range, store.name, shards)
        self._store = store
        self._cache = cache
        self._contents = contents
        self._ends = contents.ends
        self._held: dict[int, CachedShard] = {}  # of the window that is being read and of the next
        self._filling: dict[tuple[int, bool], asyncio.Task[bool]] = {}
        self._turn: dict[int, int] = {}  # when each shard comes in the epoch
        self._window: int | None = None
        self._reached = 0
        self._ahead: asyncio.Task[None] | None = None
        self._broken = False
        self._warned = False
        self._stalls: dict[str, tuple[int, float]] = {}  # other processes' downloads: last written, unchanged since

    # -- the epoch's order ---------------------------------------------------------------------------------------------

    def begin(self, order: list[int], window: int | None) -> None:
        """Begin an epoch in which shards come in this order, `window` of them at a time; None: all at once."""
        run(self._begin(order, window))

    async def _begin(self, order: list[int], window: int | None) -> None:
        if self._ahead is not None:
            self._ahead.cancel()
        self._release(lambda _: True)
        self._turn = {shard: turn for turn, shard in enumerate(order)}
        self._window = window
        self._reached = 0
        # The task must not keep the reader alive: when the loader is dropped, it ends.
        self._ahead = asyncio.ensure_future(_work_ahead(weakref.ref(self), order, window))

    def _release(self, of: Callable[[int], bool]) -> None:
        for shard in [shard for shard in self._held if of(shard)]:
            self._held.pop(shard).close()

    async def _fetch(self, shards: list[int], offsets: list[int], sizes: list[int]) -> list[memoryview]:
        if self._window is not None and shards:
            turns = {shard: self._turn.get(shard, 0) for shard in shards}
            self._reached = max(self._reached, *turns.values())
            first = min(turns.values()) // self._window * self._window
            self._release(lambda shard: self._turn.get(shard, 0) < first)
            awaited = [shard for shard, turn in turns.items() if turn >= self._window]
            await asyncio.gather(*(self._ensure(shard, evict=True, wait=True) for shard in awaited))
        found, missing = await asyncio.to_thread(self._read_held, shards, offsets, sizes)
        if missing:
            rest = await super()._fetch(*([column[i] for i in missing] for column in (shards, offsets, sizes)))
            for i, data in zip(missing, rest, strict=True):
                found[i] = data
        return found

    def _read_held(self, shards: list[int], offsets: list[int], sizes: list[int]) -> tuple[list[memoryview], list[int]]:
        """The samples that are in the cache, and the places of those that are not."""
        found: list[memoryview] = [memoryview(b"")] * len(shards)
        missing = []
        for shard in set(shards):
            members = [i for i, other in enumerate(shards) if other == shard]
            held = self._cache.hold(self._shards[shard], self._ends[shard])
            if held is None:
                missing += members
                continue
            with held:
                for i in members:
                    found[i] = memoryview(held.read(offsets[i], sizes[i]))
        return found, sorted(missing)

    # -- filling -------------------------------------------------------------------------------------------------------

    async def _ensure(self, shard: int, *, evict: bool, wait: bool) -> bool:
        """Bring a shard into the cache if it is missing and there is room; returns whether to go on filling.

        With `wait`, this waits for another process's download as long as it makes progress. Errors of the store are
        ignored here, since reading the bytes raises them; errors of the disk turn the cache off.
        """
        key = (shard, wait)
        if key not in self._filling:
            task = asyncio.ensure_future(self._fill(shard, evict, wait))
            self._filling[key] = task
            task.add_done_callback(lambda _: self._filling.pop(key, None))
        return await asyncio.shield(self._filling[key])

    async def _fill(self, shard: int, evict: bool, wait: bool) -> bool:
        try:
            return await self._bring(shard, evict, wait)
        except (FileNotFoundError, StoreError) as error:
            log.debug("not cached: %s", error)
        except OSError as error:
            self._broken = True
            log.warning("the cache at %s is no longer used: %s", self._cache.folder, error)
        return not self._broken

    async def _bring(self, shard: int, evict: bool, wait: bool) -> bool:
        path = self._shards[shard]
        while not self._broken and shard not in self._held:
            held = self._cache.hold(path, self._ends[shard])
            if held is None:
                size = await self._store.async_size(path)
                if size > self._cache.limit:
                    self._warn_too_large(path, size)
                    return False
                download = await asyncio.to_thread(self._cache.begin, path, size, evict=evict)
                if download is not None:
                    held = await self._download(shard, download, size)
            if held is not None:
                if self._window is not None:
                    self._held[shard] = held
                else:
                    held.close()
                return True
            if (written := self._cache.being_downloaded(path)) is None:
                if (held := self._cache.hold(path, self._ends[shard])) is None:
                    return False  # no room
                held.close()
            elif not wait or self._stalls_for(path, written) > self._store.patience.timeout:
                return True  # until it is there, samples are read by single ranges
            await asyncio.sleep(_POLL_SECONDS)
        return not self._broken

    def warm(self, shards: Sequence[int], came: Callable[[int], None]) -> bool:
        """Bring shards into the cache, one after the other, removing none; `came` is told of each that is there.

        Returns False when there was no room for one. Raises OSError for a shard or disk that cannot be read or
        written.
        """
        return run(self._warm(shards, came))

    async def _warm(self, shards: Sequence[int], came: Callable[[int], None]) -> bool:
        waiting = iter(shards)

        async def some() -> bool:
            for shard in waiting:
                if not await self._bring(shard, evict=False, wait=True):
                    return False
                came(shard)
            return True

        return all(await asyncio.gather(*(some() for _ in range(FILLS))))

    def _stalls_for(self, path: str, written: int) -> float:
        """Seconds for which another process's download, last written to at time `written`, has not progressed."""
        now = time.monotonic()
        last, since = self._stalls.get(path, (-1, now))
        self._stalls[path] = (written, since if last == written else now)
        return now - self._stalls[path][1]

    def _warn_too_large(self, path: str, size: int) -> None:
        if not self._warned:
            self._warned = True
            log.warning(
                "%s, %d bytes, is larger than the whole cache at %s: choose a cache_size above %d",
                f"{self._store.name}/{path}",
                size,
                self._cache.folder,
                self._cache.limit,
            )

    async def _download(self, shard: int, download: Download, size: int) -> CachedShard:
        path = self._shards[shard]
        turns = asyncio.Semaphore(8)

        async def part(start: int, end: int) -> None:
            async with turns:
                data = await self._store.async_range(path, start, end)
                await asyncio.to_thread(download.write, start, data)

        parts = [
            asyncio.ensure_future(part(start, min(start + CHUNK_BYTES, size))) for start in range(0, size, CHUNK_BYTES)
        ]
        try:
            await asyncio.gather(*parts)
            name, images = f"{self._store.name}/{self._shards[shard]}", self._contents.images(shard)
            await asyncio.to_thread(check_shard, name, size, self._ends[shard], images, download.read)
            return await asyncio.to_thread(download.finish)
        except BaseException:
            for one in parts:
                one.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
            download.abandon()
            raise


async def _work_ahead(reader: weakref.ref[CachedReader], order: list[int], window: int | None) -> None:
    """Fill the cache in the epoch's order, from the second window on up to the end of the next one; then, or without
    windows, while there is room."""
    running: set[asyncio.Task[bool]] = set()
    first = window or 0
    for place, shard in enumerate(order[first:] + order[:first]):
        turn = place + first
        spare = window is None or turn >= len(order)
        while True:
            found = reader()
            if found is None or found._broken:
                return
            if window is None or min(turn, len(order) - 1) < (found._reached // window + 2) * window:
                break
            del found
            await asyncio.sleep(_POLL_SECONDS)
        running.add(asyncio.ensure_future(found._ensure(shard, evict=not spare, wait=False)))
        del found
        if len(running) == FILLS:
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            if spare and not all(task.result() for task in done):
                break  # full
    if running:
        await asyncio.wait(running)
