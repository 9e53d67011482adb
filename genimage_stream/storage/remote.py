"""Files of object stores and web servers: parallel ranges, bounded retries, no endless waits."""

from __future__ import annotations

import asyncio
import mmap
from collections.abc import Awaitable, Callable
from copy import copy
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

from genimage_stream.addresses import shown
from genimage_stream.remedies import printable
from genimage_stream.storage.errors import PastEndError, StoreError
from genimage_stream.storage.event_loop import gate, run
from genimage_stream.storage.http_files import Facts, HttpFiles
from genimage_stream.storage.obstore_files import ObstoreFiles
from genimage_stream.storage.patience import PassingError, Patience, persist
from genimage_stream.storage.ranges import CHUNK_BYTES
from genimage_stream.storage.remote_reader import RemoteReader
from genimage_stream.storage.remote_snapshot import RemoteSnapshot
from genimage_stream.storage.versions import changed
from genimage_stream.storage.within import need_possible_size

if TYPE_CHECKING:
    from genimage_stream.storage.store import ShardContents, Spans

T = TypeVar("T")


class RemoteStore:
    """A dataset at an address. `options`: fields of Patience, `client_options`, `credential_provider`, `profile`, and
    obstore's configuration keys. `name` is the address without what is secret in it."""

    def __init__(self, address: str, options: dict[str, Any] | None = None) -> None:
        self.name = shown(address.partition("?")[0]).rstrip("/")
        self._versions: dict[str, str] = {}  # of the files read so far
        given = dict(options or {})
        self.peers = given.pop("peers", ())
        self.patience = Patience(**{f.name: given.pop(f.name) for f in fields(Patience) if f.name in given})
        self._server = "/".join(self.name.split("/")[:3])
        self._files: HttpFiles | ObstoreFiles
        headers = given.get("client_options", {}).get("default_headers", {})
        if address.startswith("http://") and given.get("client_options", {}).keys() <= {
            "allow_http",
            "default_headers",
        }:
            self._files = HttpFiles(address.rstrip("/"), headers, self.patience.timeout, self.patience.parallel)
        else:
            self._files = ObstoreFiles(address.rstrip("/"), given, self.patience.timeout)

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
        return RemoteReader(self.async_range, self.name, shards)

    async def async_size(self, path: str) -> int:
        """Bytes of a file. Raises FileNotFoundError or StoreError."""
        return (await self._found(path))[0]

    async def _found(self, path: str) -> tuple[int, str]:
        """(bytes, version) of a file. Raises ChangedError when it is another one than before."""
        facts = await self._attempt(path, lambda: self._files.head(path))
        self._same(path, facts)
        return facts

    def _same(self, path: str, facts: Facts) -> None:
        """Raises ChangedError unless this is the version of the file that was met before."""
        if self._versions.setdefault(path, facts.version) != facts.version:
            raise changed(f"{self.name}/{path}")

    async def _read(self, path: str) -> bytearray:
        size = await self.async_size(path)
        need_possible_size(f"{self.name}/{path}", size)
        data = bytearray()  # grows with what arrives, whatever size a server claims
        for start in range(0, size, CHUNK_BYTES):
            data += await self.async_range(path, start, min(start + CHUNK_BYTES, size))
        return data

    async def fill(self, path: str, memory: memoryview | mmap.mmap, spans: Spans) -> None:
        """Read spans of a file to the same places of `memory`, in parallel."""

        async def part(start: int, end: int) -> None:
            memory[start:end] = await self.async_range(path, start, end)

        starts = [(at, min(at + CHUNK_BYTES, end)) for start, end in spans for at in range(start, end, CHUNK_BYTES)]
        await asyncio.gather(*(part(*one) for one in starts))

    async def async_range(self, path: str, start: int, end: int) -> memoryview:
        """Bytes start .. end of a file. Raises FileNotFoundError or StoreError."""
        if start == end:
            return memoryview(b"")
        try:
            found, facts = await self._attempt(path, lambda: self._files.get(path, start, end))
        except PastEndError:
            if int(self._versions.get(path, "-0").rpartition("-")[2]) > start:  # it was longer before
                raise changed(f"{self.name}/{path}") from None
            raise
        self._same(path, facts)
        data = memoryview(found)
        if len(data) != end - start:
            raise StoreError(
                f"{self.name}/{path} ends at byte {start + len(data)}, "
                f"but its index goes to byte {end}: it is truncated"
            )
        return data

    async def _attempt(self, path: str, begin: Callable[[], Awaitable[T]]) -> T:
        try:
            return await persist(self.patience, gate(self._server, self.patience.parallel), begin)
        except FileNotFoundError:
            raise FileNotFoundError(f"{self.name}/{path} does not exist") from None
        except PastEndError:
            raise PastEndError(f"{self.name}/{path} is shorter than its index says: it is truncated") from None
        except (StoreError, PassingError) as error:
            raise StoreError(f"{self.name}/{path}: {printable(str(error))}") from None  # it quotes the server
