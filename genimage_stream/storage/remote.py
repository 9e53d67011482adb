"""Files of object stores and web servers, through obstore: parallel ranges, bounded retries, no endless waits."""

from __future__ import annotations

import asyncio
import mmap
import os
import random
import re
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from genimage_stream.storage.event_loop import run, slots
from genimage_stream.storage.ranges import CHUNK_BYTES
from genimage_stream.storage.remote_reader import RemoteReader
from genimage_stream.storage.remote_snapshot import RemoteSnapshot
from genimage_stream.storage.versions import changed

if TYPE_CHECKING:
    from genimage_stream.storage.store import ShardContents, Spans

#: How obstore words that a range begins behind the file's end. A bare 416 may as well be a port or a time.
BEYOND_END = re.compile(r"status code: 416\b|\bInvalid range:")


@dataclass(frozen=True)
class Patience:
    """Limits of requests to a store. An attempt may take `timeout` seconds, stalls included; `retries` more attempts
    follow with growing pauses, the first of `pause` seconds; `parallel` requests run at once."""

    timeout: float = 30.0
    retries: int = 4
    pause: float = 0.25
    parallel: int = 64

    def __post_init__(self) -> None:
        if self.timeout <= 0 or self.retries < 0 or self.pause < 0 or self.parallel < 1:
            raise ValueError(f"{self}: timeout and parallel must be above 0, retries and pause at least 0")


class StoreError(OSError):
    """A file of a store could not be read: it names the file and the reason."""


class RemoteStore:
    """A dataset at an address. `options`: fields of Patience, `client_options`, and obstore's configuration keys."""

    def __init__(self, address: str, options: dict[str, Any] | None = None) -> None:
        try:
            from obstore.store import from_url
        except ImportError as error:
            raise ImportError(f"{address}: object stores need obstore: pip install 'genimage-stream[s3]'") from error
        self.name = address.rstrip("/")
        self._versions: dict[str, str] = {}  # of the files read so far
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

    def local_path(self, path: str) -> None:
        return None

    def size(self, path: str) -> int:
        return run(self.async_size(path))

    def read(self, path: str) -> bytearray:
        return run(self._read(path))

    def read_range(self, path: str, offset: int, size: int) -> bytes:
        return bytes(run(self.async_range(path, offset, offset + size)))

    def snapshot(self, path: str) -> RemoteSnapshot:
        size, version = run(self._found(path))
        return RemoteSnapshot(self, path, size, version)

    def anew(self) -> RemoteStore:
        fresh = copy(self)
        fresh._versions = {}
        return fresh

    def reader(self, shards: list[str], contents: Callable[[], ShardContents] | None = None) -> RemoteReader:
        return RemoteReader(self.async_range, shards)

    async def async_size(self, path: str) -> int:
        """Bytes of a file. Raises FileNotFoundError or StoreError."""
        return (await self._found(path))[0]

    async def _found(self, path: str) -> tuple[int, str]:
        """(bytes, version) of a file. Raises ChangedError when it is another one than before."""
        facts = await self._attempt(path, lambda: self._store.head_async(path))
        return facts["size"], self._same(path, facts)

    def _same(self, path: str, facts: Mapping[str, Any]) -> str:
        """The version of a file, given what the store says of it, which has to be the one met before."""
        version = f"{facts.get('e_tag') or facts.get('last_modified')}-{facts['size']}"
        if self._versions.setdefault(path, version) != version:
            raise changed(f"{self.name}/{path}")
        return version

    async def _read(self, path: str) -> bytearray:
        size = await self.async_size(path)
        data = bytearray(size)
        await self.fill(path, memoryview(data), [(0, size)])
        return data

    async def fill(self, path: str, memory: memoryview | mmap.mmap, spans: Spans) -> None:
        """Read spans of a file to the same places of `memory`, in parallel."""

        async def part(start: int, end: int) -> None:
            memory[start:end] = await self.async_range(path, start, end)

        starts = [(at, min(at + CHUNK_BYTES, end)) for start, end in spans for at in range(start, end, CHUNK_BYTES)]
        await asyncio.gather(*(part(*one) for one in starts))

    async def async_range(self, path: str, start: int, end: int) -> memoryview:
        """Bytes start .. end of a file. Raises FileNotFoundError or StoreError."""
        data = memoryview(await self._attempt(path, lambda: self._get(path, start, end)))
        if len(data) != end - start:
            raise StoreError(
                f"{self.name}/{path} ends at byte {start + len(data)}, "
                f"but its index goes to byte {end}: it is truncated"
            )
        return data

    async def _get(self, path: str, start: int, end: int) -> Any:
        found = await self._store.get_async(path, options={"range": (start, end)})
        self._same(path, found.meta)
        return await found.bytes_async()

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
                # Half of the pause is random, so that many loaders do not come back at the same moment.
                pause = min(patience.pause * 2 ** (attempt - 1), 10.0)
                await asyncio.sleep(pause * (0.5 + random.random()))
            try:
                async with slots(patience.parallel):
                    return await asyncio.wait_for(begin(), patience.timeout)
            except (exceptions.NotFoundError, FileNotFoundError):
                raise FileNotFoundError(f"{self.name}/{path} does not exist") from None
            except asyncio.TimeoutError:
                reason = f"no answer within {patience.timeout:g} s"
            except lasting as error:
                reason = _first_line(error)
                if isinstance(error, exceptions.NotSupportedError) and "range" in reason.lower():
                    reason += (
                        ". The loader reads parts of files and this server sends only whole ones: use one that answers "
                        "range requests (nginx, Caddy, an object store), or copy the dataset to a local folder"
                    )
                raise StoreError(f"{self.name}/{path}: {reason}") from error
            except exceptions.BaseError as error:
                reason = _first_line(error)
                if BEYOND_END.search(reason):
                    raise StoreError(f"{self.name}/{path} is shorter than its index says: it is truncated") from error
        raise StoreError(f"{self.name}/{path}: {reason}; gave up after {patience.retries + 1} attempts")


def _first_line(error: BaseException) -> str:
    """obstore puts the whole request below the first line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
