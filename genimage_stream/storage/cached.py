"""Reading an object store through a cache of shards on a local disk.

With shuffle="shards" or False the cache works ahead of the consumer: it downloads whole shards, front to back, in the
order in which they come, the next window while this one is read. The first window is read by single ranges, so that the
first batch does not wait for gigabytes; its shards are downloaded last, if there is room. With shuffle=True every batch
touches as many shards as it has samples; then single ranges are fetched as without a cache, and the cache fills in the
background as long as there is room.

With shuffle="nodes" the cache is where this machine's share of the shards lives, so that each byte is fetched once: all
shards are downloaded whole, those of the first window too, in requests of CHUNK_BYTES. Of a shard that two machines
divide each downloads its part, a file of its own in the cache.
"""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from genimage_stream.storage.cache import CachedShard, Download, ShardCache
from genimage_stream.storage.errors import StoreError
from genimage_stream.storage.event_loop import run
from genimage_stream.storage.peers import Peer, Peers
from genimage_stream.storage.ranges import CHUNK_BYTES
from genimage_stream.storage.remote import RemoteStore
from genimage_stream.storage.remote_reader import RemoteReader
from genimage_stream.storage.shard_checks import check_shard
from genimage_stream.storage.tar_headers import BLOCK

if TYPE_CHECKING:
    from genimage_stream.storage.store import Extents, ShardContents

log = logging.getLogger("genimage_stream")

FILLS = 2  # shards downloaded at once; each of them by parallel ranges
_POLL_SECONDS = 0.1


class _File(NamedTuple):
    """A file of the cache: a shard, or the bytes of one from `first` on. `end`: one past the last that is needed."""

    path: str
    first: int
    end: int


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
        self._held: dict[tuple[int, str], CachedShard] = {}  # of the window that is being read and of the next
        self._filling: dict[tuple[str, bool], asyncio.Task[bool]] = {}
        self._turn: dict[int, int] = {}  # when each shard comes in the epoch
        self._window: int | None = None
        self._extents: Extents | None = None
        self._fills = asyncio.Semaphore(FILLS)
        self._peers = Peers(store.peers, store.patience.parallel)
        self._reached = 0
        self._ahead: asyncio.Task[None] | None = None
        self._broken = False
        self._warned = False
        self._stalls: dict[str, tuple[int, float]] = {}  # other processes' downloads: last written, unchanged since

    # -- the epoch's order ---------------------------------------------------------------------------------------------

    def begin(self, order: list[int], window: int | None, extents: Extents | None = None) -> None:
        """Begin an epoch in which shards come in this order, `window` of them at a time; None: all at once."""
        run(self._begin(order, window, extents))

    async def _begin(self, order: list[int], window: int | None, extents: Extents | None) -> None:
        if self._ahead is not None:
            self._ahead.cancel()
        self._release(lambda _: True)
        self._turn = {shard: turn for turn, shard in enumerate(order)}
        self._window, self._extents = window, extents
        if extents is not None and (size := sum(self._ends[shard] for shard in order)) > self._cache.limit:
            self._warn_too_small(size)
        self._reached = 0
        # The task must not keep the reader alive: when the loader is dropped, it ends.
        self._ahead = asyncio.ensure_future(
            _work_ahead(weakref.ref(self), order, window, window if extents is None and window else 0)
        )

    def _release(self, of: Callable[[int], bool]) -> None:
        for key in [key for key in self._held if of(key[0])]:
            self._held.pop(key).close()

    def _file(self, shard: int) -> _File:
        """What of a shard is kept in this epoch."""
        path = self._shards[shard]
        if not self._extents or shard not in self._extents:
            return _File(path, 0, self._ends[shard])
        first, end = self._extents[shard]
        return _File(str(PurePosixPath(path).with_suffix(f".{first}-{end}.tar")), first, end)

    def _hold(self, file: _File) -> CachedShard | None:
        return self._cache.hold(file.path, file.end - file.first)

    async def _fetch(self, shards: list[int], offsets: list[int], sizes: list[int]) -> list[memoryview]:
        if self._window is not None and shards:
            turns = {shard: self._turn.get(shard, 0) for shard in shards}
            self._reached = max(self._reached, *turns.values())
            first = min(turns.values()) // self._window * self._window
            self._release(lambda shard: self._turn.get(shard, 0) < first)
            unread = 0 if self._extents is not None else self._window
            awaited = [shard for shard, turn in turns.items() if turn >= unread and shard in self._turn]
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
            file = self._file(shard)
            if (held := self._hold(file)) is None and file.path != self._shards[shard]:  # perhaps all of it is here
                file = _File(self._shards[shard], 0, self._ends[shard])
                held = self._hold(file)
            if held is None:
                missing += members
                continue
            with held:
                for i in members:
                    if file.first <= offsets[i] and offsets[i] + sizes[i] <= file.end:
                        found[i] = memoryview(held.read(offsets[i] - file.first, sizes[i]))
                    else:
                        missing.append(i)
        return found, sorted(missing)

    # -- filling -------------------------------------------------------------------------------------------------------

    async def _ensure(self, shard: int, *, evict: bool, wait: bool) -> bool:
        """Bring a shard into the cache if it is missing and there is room; returns whether to go on filling.

        With `wait`, this waits for another process's download as long as it makes progress. Errors of the store are
        ignored here, since reading the bytes raises them; errors of the disk turn the cache off.
        """
        key = (self._file(shard).path, wait)
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
        file = self._file(shard)
        key = (shard, file.path)
        while not self._broken and key not in self._held:
            held: CachedShard | Literal[False] | None = self._hold(file)
            if held is None:
                held = await self._fetched(shard, file, evict)
            if isinstance(held, CachedShard):
                if self._window is not None:
                    self._held[key] = held
                else:
                    held.close()
                return True
            if held is False:
                return False
            if (written := self._cache.being_downloaded(file.path)) is None:
                if (there := self._hold(file)) is None:
                    return False  # no room
                there.close()
            elif not wait or self._stalls_for(file.path, written) > self._store.patience.timeout:
                return True  # until it is there, samples are read by single ranges
            await asyncio.sleep(_POLL_SECONDS)
        return not self._broken

    async def _fetched(self, shard: int, file: _File, evict: bool) -> CachedShard | Literal[False] | None:
        """A file of the cache, downloaded; None when another process downloads it or there is no room, False when
        there never is."""
        async with AsyncExitStack() as stack:
            if self._extents is not None:
                await stack.enter_async_context(self._fills)  # all the shards of a window may be awaited at once
            size = await self._store.async_size(self._shards[shard])
            if file.path != self._shards[shard]:
                size = min(size, file.end) - file.first
            if size > self._cache.limit:
                self._warn_too_large(file.path, size)
                return False
            download = await asyncio.to_thread(self._cache.begin, file.path, size, evict=evict)
            return None if download is None else await self._download(shard, file, download, size)

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

    def _warn_too_small(self, size: int) -> None:
        if not self._warned:
            self._warned = True
            log.warning(
                "this node's share of %s, %d bytes, is larger than the whole cache at %s, so shards are fetched anew "
                "in every epoch: choose a cache_size above %d, or more nodes",
                self._store.name,
                size,
                self._cache.folder,
                self._cache.limit,
            )

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

    async def _download(self, shard: int, file: _File, download: Download, size: int) -> CachedShard:
        path = self._shards[shard]
        turns = asyncio.Semaphore(8)
        peer: Peer | None = None
        there = f"{self._cache.own.name}/{file.path}"
        parts: list[asyncio.Task[bool]] = []

        async def part(start: int) -> bool:
            """Whether it came from the peer."""
            end = min(start + CHUNK_BYTES, size)
            async with turns:
                data: bytearray | memoryview | None = None
                if peer is not None and peer.here and (seconds := self._peers.seconds) is not None:
                    data = await peer.part(there, start, end, seconds)
                if foreign := data is not None:
                    await asyncio.to_thread(download.write, start, memoryview(data))
                else:
                    began = time.monotonic()
                    data = await self._store.async_range(path, file.first + start, file.first + end)
                    self._peers.took(time.monotonic() - began)
                    await asyncio.to_thread(download.write, start, data)
            return foreign

        async def all_parts(starts: range) -> bool:
            parts[:] = [asyncio.ensure_future(part(start)) for start in starts]
            return any(await asyncio.gather(*parts))

        starts = range(0, size, CHUNK_BYTES)
        try:
            if self._peers.wants_measure and size:
                await part(0)
                starts = starts[1:]
            peer = await self._peers.holding(there, size) if starts else None
            foreign = await all_parts(starts)
            try:
                await self._check(shard, file, size, download)
            except StoreError as error:
                if not foreign or peer is None:
                    raise
                peer.lied(error)
                peer = None
                await all_parts(range(0, size, CHUNK_BYTES))
                await self._check(shard, file, size, download)
            return await asyncio.to_thread(download.finish)
        except BaseException:
            for one in parts:
                one.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
            download.abandon()
            raise

    async def _check(self, shard: int, file: _File, size: int, download: Download) -> None:
        """Raises StoreError unless the download is what the index says."""
        path = self._shards[shard]
        images = self._contents.images(shard)
        if file.path != path:
            images = [
                (at - file.first, n, hashed)
                for at, n, hashed in images
                if at - BLOCK >= file.first and at + n <= file.end
            ]
        name = f"{self._store.name}/{path}"
        await asyncio.to_thread(check_shard, name, size, file.end - file.first, images, download.read)


async def _work_ahead(reader: weakref.ref[CachedReader], order: list[int], window: int | None, first: int) -> None:
    """Fill the cache in the epoch's order, from the shard `first` on up to the end of the next window; then, or without
    windows, while there is room."""
    running: set[asyncio.Task[bool]] = set()
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
