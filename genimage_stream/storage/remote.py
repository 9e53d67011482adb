"""Bytes from object stores and web servers, through obstore: parallel ranges, bounded retries, no endless waits.

All of a process's downloads run on one event loop in one thread; obstore does the work outside the interpreter.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import hashlib
import mmap
import os
import random
import re
import threading
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from genimage_stream.decode import PartialBytes

if TYPE_CHECKING:
    import pyarrow as pa
    from typing_extensions import Buffer

    from genimage_stream.dataset.columns import IndexColumns

T = TypeVar("T")
Cache = tuple[str | Path, int | str]  # folder and size of a cache of shards

CHUNK_BYTES = 8 << 20  # of a whole file, per request
#: How obstore words that a range begins behind the file's end. A bare 416 may as well be a port or a time.
BEYOND_END = re.compile(r"status code: 416\b|\bInvalid range:")
GAP_BYTES = 128 << 10  # ranges closer together than this are one request: cheaper than a round trip


@dataclass(frozen=True)
class Patience:
    """How a store is asked. An attempt may take `timeout` seconds, a stalled one included; `retries` more attempts
    follow with growing pauses, the first of `pause` seconds; `parallel` requests run at once."""

    timeout: float = 30.0
    retries: int = 4
    pause: float = 0.25
    parallel: int = 64

    def __post_init__(self) -> None:
        if self.timeout <= 0 or self.retries < 0 or self.pause < 0 or self.parallel < 1:
            raise ValueError(f"{self}: timeout and parallel above 0, retries and pause not below")


class StoreError(OSError):
    """A file of a store could not be read: it names the file and the reason."""


class RemoteStore:
    """A dataset at an address. `options`: fields of Patience, `client_options`, and obstore's configuration keys."""

    def __init__(self, address: str, options: dict[str, Any] | None = None, cache: Cache | None = None) -> None:
        try:
            from obstore.store import from_url
        except ImportError as error:
            raise ImportError(f"{address}: object stores need obstore: pip install 'genimage-stream[s3]'") from error
        self.name = address.rstrip("/")
        self._options = options
        given = dict(options or {})
        self.patience = Patience(**{f.name: given.pop(f.name) for f in fields(Patience) if f.name in given})
        client = {"connect_timeout": "5s", "timeout": f"{self.patience.timeout}s", **given.pop("client_options", {})}
        endpoint = given.get("endpoint") or given.get("aws_endpoint") or os.environ.get("AWS_ENDPOINT_URL", "")
        if self.name.startswith("http://") or str(endpoint).startswith("http://"):
            client.setdefault("allow_http", True)
        retry = {"max_retries": 0, "retry_timeout": timedelta(seconds=self.patience.timeout)}
        try:
            self._store: Any = from_url(self.name, client_options=client, retry_config=retry, config=given)  # type: ignore[call-overload]
        except Exception as error:
            raise ValueError(f"{self.name}: {_first_line(error)}") from error
        self._cache = cache

    def read(self, path: str) -> bytes:
        return bytes(run(self._read(path)))

    def read_buffer(self, path: str) -> pa.Buffer:
        import pyarrow as pa

        return pa.py_buffer(run(self._read(path)))

    def file(self, path: str) -> RemoteFile:
        """A file of which parts are read."""
        return RemoteFile(self, path, run(self.head(path))["size"])

    def opening(self) -> dict[str, Any]:
        folder, size = self._cache or (None, 0)
        return {"path": self.name, "storage_options": self._options, "cache_dir": folder, "cache_size": size}

    def local_path(self, path: str) -> None:
        return None

    def reader(self, shards: list[str]) -> RemoteReader:
        return RemoteReader(self, shards)

    def cached_reader(self, shards: list[str], columns: IndexColumns, info: dict[str, Any]) -> RemoteReader:
        if self._cache is None:
            return self.reader(shards)
        from genimage_stream.storage.cache import ShardCache
        from genimage_stream.storage.cached import CachedReader

        # A dataset that was packed anew under the same address shares nothing with the old one.
        about = f"{self.name} {info.get('plan_digest')} {columns.num_rows}"
        name = hashlib.blake2b(about.encode(), digest_size=12).hexdigest()
        return CachedReader(self, ShardCache(*self._cache, name), shards, columns)

    async def _read(self, path: str) -> bytearray:
        return await self.download(path, (await self.head(path))["size"])

    async def head(self, path: str) -> dict[str, Any]:
        """obstore's facts of a file, among them `size` and `e_tag`."""
        found: dict[str, Any] = await self._attempt(path, lambda: self._store.head_async(path))
        return found

    async def download(self, path: str, size: int) -> bytearray:
        """A whole file of `size` bytes, by parallel ranges."""
        data = bytearray(size)
        await self.fill(path, memoryview(data), [(0, size)])
        return data

    async def fill(self, path: str, memory: memoryview | mmap.mmap, spans: Sequence[tuple[int, int]]) -> None:
        """Read spans of a file to the same places of `memory`, in parallel."""

        async def part(start: int, end: int) -> None:
            memory[start:end] = await self.range(path, start, end)

        starts = [(at, min(at + CHUNK_BYTES, end)) for start, end in spans for at in range(start, end, CHUNK_BYTES)]
        await asyncio.gather(*(part(*one) for one in starts))

    async def range(self, path: str, start: int, end: int) -> memoryview:
        """Bytes start .. end of a file. Raises FileNotFoundError or StoreError."""
        found = await self._attempt(path, lambda: self._store.get_range_async(path, start=start, end=end))
        data = memoryview(found)
        if len(data) != end - start:
            raise StoreError(
                f"{self.name}/{path} ends at byte {start + len(data)}, "
                f"but its index goes to byte {end}: it is truncated"
            )
        return data

    async def _attempt(self, path: str, begin: Any) -> Any:
        from obstore import exceptions

        patience = self.patience
        lasting = (
            exceptions.PermissionDeniedError,
            exceptions.UnauthenticatedError,
            exceptions.NotSupportedError,
            exceptions.InvalidPathError,
        )
        reason = ""
        for attempt in range(patience.retries + 1):
            if attempt:
                # Half of the pause is chance, so that many loaders do not come back at the same moment.
                pause = min(patience.pause * 2 ** (attempt - 1), 10.0)
                await asyncio.sleep(pause * (0.5 + random.random()))
            try:
                async with _slots(patience.parallel):
                    return await asyncio.wait_for(begin(), patience.timeout)
            except (exceptions.NotFoundError, FileNotFoundError):
                raise FileNotFoundError(f"{self.name}/{path} is not there") from None
            except asyncio.TimeoutError:
                reason = f"no answer within {patience.timeout:g} s"
            except lasting as error:
                reason = _first_line(error)
                if isinstance(error, exceptions.NotSupportedError) and "range" in reason.lower():
                    reason += (
                        ". Parts of files are read, and this server sends whole ones only: use one that answers range "
                        "requests (nginx, Caddy, an object store), or copy the dataset to a local folder"
                    )
                raise StoreError(f"{self.name}/{path}: {reason}") from error
            except exceptions.BaseError as error:
                reason = _first_line(error)
                if BEYOND_END.search(reason):
                    raise StoreError(f"{self.name}/{path} is shorter than its index says: it is truncated") from error
        raise StoreError(f"{self.name}/{path}: {reason}; gave up after {patience.retries + 1} attempts")


class RemoteFile:
    """A file of `size` bytes in a store."""

    def __init__(self, store: RemoteStore, path: str, size: int) -> None:
        self._store = store
        self._path = path
        self.size = size

    def parts(self, spans: Sequence[tuple[int, int]]) -> mmap.mmap:
        """Memory as large as the file with these spans in their places; the rest costs nothing and reads as zeros."""
        memory = mmap.mmap(-1, max(1, self.size), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        run(self._store.fill(self._path, memory, spans))
        return memory


class RemoteReader:
    """Fetches batches' bytes into memory, some batches ahead of the decoder."""

    ahead = 6
    wants_parts = True

    def __init__(self, store: RemoteStore, shards: list[str]) -> None:
        self._store = store
        self._shards = shards

    def request(
        self,
        shards: npt.NDArray[np.int32],
        offsets: npt.NDArray[np.int64],
        sizes: npt.NDArray[np.int64],
        parts: npt.NDArray[np.int64] | None = None,
    ) -> RemoteRequest:
        needed = None if parts is None else parts.tolist()
        return RemoteRequest(self._samples(wanted(shards.tolist(), offsets.tolist(), sizes.tolist(), needed)))

    async def _samples(self, samples: list[Wanted]) -> list[Buffer | PartialBytes]:
        pieces = [(sample.shard, *piece) for sample in samples for piece in sample.pieces()]
        found = iter(await self._fetch(*map(list, zip(*pieces, strict=True))) if pieces else ())
        return [self._put_together(sample, [next(found) for _ in sample.pieces()]) for sample in samples]

    def _put_together(self, sample: Wanted, pieces: list[memoryview]) -> Buffer | PartialBytes:
        if sample.parts is None:
            return pieces[0]
        start = sample.offset

        def whole() -> memoryview:
            return run(self._store.range(self._shards[sample.shard], start, start + sample.size))

        return PartialBytes(sample.size, pieces[0], pieces[1], sample.parts[1], whole)

    async def _fetch(self, shards: list[int], offsets: list[int], sizes: list[int]) -> list[memoryview]:
        """Pieces of shards, in the order in which they are asked for."""
        found: list[memoryview] = [memoryview(b"")] * len(shards)

        async def part(shard: int, start: int, end: int, members: list[int]) -> None:
            data = await self._store.range(self._shards[shard], start, end)
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


class Wanted(NamedTuple):
    """A sample that is asked for: `size` bytes at `offset`, or of these the first `parts[0]` and those from `parts[1]`
    to `parts[2]`."""

    shard: int
    offset: int
    size: int
    parts: tuple[int, int, int] | None = None

    def pieces(self) -> list[tuple[int, int]]:
        """(offset in the shard, size) of what has to be read."""
        if self.parts is None:
            return [(self.offset, self.size)]
        head, begin, end = self.parts
        return [(self.offset, head), (self.offset + begin, end - begin)]


def wanted(
    shards: list[int], offsets: list[int], sizes: list[int], parts: list[tuple[int, int, int]] | None
) -> list[Wanted]:
    if parts is None:
        return [Wanted(*one) for one in zip(shards, offsets, sizes, strict=True)]
    return [
        Wanted(shard, offset, size, None if part[0] >= size else part)
        for shard, offset, size, part in zip(shards, offsets, sizes, parts, strict=True)
    ]


def coalesce(
    shards: Sequence[int], offsets: Sequence[int], sizes: Sequence[int]
) -> list[tuple[int, int, int, list[int]]]:
    """Ranges (shard, start, end, places of the samples in it) that cover all samples; neighbours share one."""
    spans: list[tuple[int, int, int, list[int]]] = []
    for i in sorted(range(len(shards)), key=lambda i: (shards[i], offsets[i])):
        shard, start, end = shards[i], offsets[i], offsets[i] + sizes[i]
        if spans:
            before, first, last, members = spans[-1]
            if before == shard and start - last <= GAP_BYTES and end - first <= CHUNK_BYTES:
                spans[-1] = (shard, first, max(last, end), [*members, i])
                continue
        spans.append((shard, start, end, [i]))
    return spans


class RemoteRequest:
    def __init__(self, fetch: Coroutine[Any, Any, list[Buffer | PartialBytes]]) -> None:
        self._began = time.perf_counter()
        self._ended = 0.0
        self._future = _hand_over(fetch)
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


# -- the event loop ----------------------------------------------------------------------------------------------------

_lock = threading.Lock()
_waiting: set[concurrent.futures.Future[Any]] = set()  # what threads wait for in `run`
_running: tuple[int, asyncio.AbstractEventLoop, dict[int, asyncio.Semaphore]] | None = None


def _start() -> tuple[int, asyncio.AbstractEventLoop, dict[int, asyncio.Semaphore]]:
    global _running  # noqa: PLW0603 - one loop per process
    with _lock:
        if _running is not None and _running[0] != os.getpid():
            # A loop of its own would not help: obstore's threads stay with the parent too, and it would wait for them.
            raise RuntimeError(
                "this process was forked from one that had used an object store, and obstore does not survive a fork: "
                'start processes with the method forkserver or spawn, as DataLoader(..., multiprocessing_context="'
                'forkserver"), or use the loader itself, whose threads do the same'
            )
        if _running is None:
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=loop.run_forever, name="genimage-stream-fetch", daemon=True)
            thread.start()
            atexit.register(_stop, os.getpid(), loop, thread)
            _running = (os.getpid(), loop, {})
        return _running


def _stop(pid: int, loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    if pid == os.getpid():
        for future in list(_waiting):  # a decoder's thread may wait for bytes that will not come any more
            future.cancel()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=5)


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 - the parent may have held it
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


def _hand_over(work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
    try:
        loop = _start()[1]
    except BaseException:
        work.close()  # it will never run
        raise
    return asyncio.run_coroutine_threadsafe(work, loop)


def _slots(parallel: int) -> asyncio.Semaphore:
    """Turns for requests; one number of them for all stores that ask for the same."""
    return _start()[2].setdefault(parallel, asyncio.Semaphore(parallel))


def run(work: Coroutine[Any, Any, T]) -> T:
    """Do work on the event loop and wait for what it gives."""
    future = _hand_over(work)
    _waiting.add(future)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise
    finally:
        _waiting.discard(future)


def _first_line(error: BaseException) -> str:
    """obstore puts the whole request below the first line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
