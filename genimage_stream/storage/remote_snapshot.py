"""A file of an object store as it was when it was opened; copied here once it is going to be needed for long."""

from __future__ import annotations

import concurrent.futures
import mmap
import os
import tempfile
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from genimage_stream.storage.event_loop import hand_over, run
from genimage_stream.storage.memory import sparse_memory
from genimage_stream.storage.ranges import CHUNK_BYTES

if TYPE_CHECKING:
    from genimage_stream.storage.store import Snapshot, Spans


class _Files(Protocol):
    """What this needs of a store."""

    def fill(self, path: str, memory: Any, spans: Spans) -> Coroutine[Any, Any, None]: ...

    def anew(self) -> _Files: ...

    def snapshot(self, path: str) -> Snapshot: ...


class RemoteSnapshot:
    """A `Snapshot` of storage/store.py. Reading another version raises ChangedError, as the store compares e-tags; a
    copy that was kept goes on. A file that takes one request anyway is copied at once."""

    def __init__(self, store: _Files, path: str, size: int, version: str) -> None:
        self._store = store
        self._path = path
        self.size = size
        self.version = version
        self._copy: tuple[int, mmap.mmap, concurrent.futures.Future[None]] | None = None  # with the process that has it
        if size <= CHUNK_BYTES:
            self.keep()

    def read_spans(self, spans: Spans) -> mmap.mmap:
        if self._copy is not None and self._copy[0] == os.getpid():
            _, memory, copied = self._copy
            if (error := copied.exception()) is None:
                return memory
            self._copy = None
            if self.size <= CHUNK_BYTES:
                raise error
        memory = sparse_memory(self.size)
        run(self._store.fill(self._path, memory, spans))
        return memory

    def version_now(self) -> str:
        try:
            return self._store.anew().snapshot(self._path).version
        except FileNotFoundError:
            return "missing"

    def keep(self) -> None:
        if self._copy is not None or not self.size:
            return
        try:
            with tempfile.TemporaryFile() as file:  # gone with the last process that has it
                os.posix_fallocate(file.fileno(), 0, self.size)  # writing to a hole on a full disk ends the process
                memory = mmap.mmap(file.fileno(), self.size)
        except OSError:
            memory = sparse_memory(self.size)
        self._copy = os.getpid(), memory, hand_over(self._store.fill(self._path, memory, [(0, self.size)]))
