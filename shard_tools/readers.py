"""The readers of all containers of the sources, shared by the shards that one process writes."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from genimage_stream.decode.image import DEFAULT_LIMITS
from shard_tools.errors import UnreadableImageError
from shard_tools.read_ahead import THREADS, read_ahead
from shard_tools.shard import Item
from shard_tools.sources.base import Container, Location, Reader


class Readers:
    """Opens the reader of a container when it is first needed; has the threads that read ahead.

    `turn` is held while a core is busy with a sample, where more threads than cores write shards.
    """

    def __init__(self, containers: Sequence[Container], at_once: int | None = None) -> None:
        self._containers = containers
        self.turn: AbstractContextManager[Any] = threading.Semaphore(at_once) if at_once else nullcontext()
        self._open: dict[int, Reader] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(THREADS, "read-ahead")

    def _reader(self, container: int) -> Reader:
        reader = self._open.get(container)
        if reader is None:
            with self._lock:
                reader = self._open.get(container)
                if reader is None:
                    reader = self._open[container] = self._containers[container].reader()
        return reader

    def read(self, container: int, where: Location) -> bytes:
        """A whole file. Raises UnreadableImageError for this file alone, SourceError when the source is at fault."""
        size, limit = max(where.size, where.stored), DEFAULT_LIMITS.max_bytes
        if size > limit:  # before the memory is allocated
            raise UnreadableImageError(f"the file has {size} bytes, more than the limit of {limit}")
        return self._reader(container).read(where)

    def ahead(self, items: Sequence[Item]) -> Iterator[bytes | Exception]:
        """For each item, in order, its bytes, or the exception that says why there are none."""
        return read_ahead(
            items, lambda item: self.read(item.container, item.where), lambda item: item.where.size, self._pool
        )

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        for reader in self._open.values():
            reader.close()
        self._open.clear()
