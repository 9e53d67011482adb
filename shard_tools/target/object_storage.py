"""A dataset in an object store (s3://, gs://, az://), through obstore.

A shard is uploaded in parts and appears when the last one is in; an upload that is given up leaves nothing visible (the
store's own rule for unfinished uploads should remove their parts).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from genimage_stream.storage.within import need_possible_size
from shard_tools.addresses import failed, open_store
from shard_tools.errors import TargetError

PART_BYTES = 8 << 20  # of an upload; at most 10,000 parts make up an object
UPLOADS = 4  # parts under way at once


class ObjectStorage:
    """See `storage.Storage`. Worker processes get its address and connect by themselves."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._connected: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url, "_connected": None}

    @property
    def _store(self) -> Any:
        if self._connected is None:
            self._connected = open_store(self.url)
        return self._connected

    def shown(self, name: str) -> str:
        return f"{self.url}/{name}"

    def local_path(self, name: str = "") -> str | None:
        return None

    def read(self, name: str) -> bytes | None:
        import obstore

        with self._explained(name, "read"):
            try:
                found = obstore.get(self._store, name)
                need_possible_size(self.shown(name), found.meta["size"])
                return bytes(found.bytes())
            except FileNotFoundError:
                return None

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[Any]:
        import obstore

        with self._explained(name, "read"):
            yield _Stream(obstore.open_reader(self._store, name, buffer_size=PART_BYTES))

    def size(self, name: str) -> int | None:
        import obstore

        with self._explained(name, "read"):
            try:
                return int(obstore.head(self._store, name)["size"])
            except FileNotFoundError:
                return None

    def write(self, name: str, data: bytes, *, durable: bool = True) -> None:
        import obstore

        with self._explained(name, "written"):
            obstore.put(self._store, name, data, chunk_size=PART_BYTES, max_concurrency=UPLOADS)

    def write_new(self, name: str, data: bytes) -> bool:
        import obstore
        from obstore.exceptions import AlreadyExistsError

        # Some servers do not know If-None-Match: with these, looking before and after leaves but a moment.
        if self.size(name) is not None:
            return False
        with self._explained(name, "written"):
            try:
                obstore.put(self._store, name, data, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return False
        return self.read(name) == data

    def create(self, name: str) -> ObjectFile:
        return ObjectFile(self, name)

    def files(self, below: str = "") -> dict[str, int]:
        import obstore

        with self._explained(below, "listed"):
            found: dict[str, int] = {}
            for batch in obstore.list(self._store, prefix=below or None):
                found.update((entry["path"], entry["size"]) for entry in batch)
            return found

    def move(self, name: str, to: str) -> None:
        import obstore

        with self._explained(to, "written"):
            obstore.rename(self._store, name, to, overwrite=True)

    def remove(self, name: str) -> None:
        import obstore

        with self._explained(name, "removed"), contextlib.suppress(FileNotFoundError):
            obstore.delete(self._store, name)

    @contextlib.contextmanager
    def _explained(self, name: str, what: str) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except FileNotFoundError:
            raise
        except (BaseError, OSError) as error:
            raise TargetError(
                failed(
                    f"{self.shown(name)} cannot be {what}",
                    error,
                    "look at the address, the credentials and the network, and run the same command again: finished "
                    "shards are kept",
                )
            ) from error


class ObjectFile:
    """An object that is being uploaded."""

    def __init__(self, storage: ObjectStorage, name: str) -> None:
        import obstore

        self._storage, self._name = storage, name
        with storage._explained(name, "written"):
            self._writer: Any = obstore.open_writer(
                storage._store, name, buffer_size=PART_BYTES, max_concurrency=UPLOADS
            )

    def write(self, parts: Sequence[bytes | memoryview]) -> None:
        with self._storage._explained(self._name, "written"):
            self._writer.write(b"".join(parts))

    def commit(self) -> None:
        with self._storage._explained(self._name, "written"):
            self._writer.close()
        self._writer = None

    def abort(self) -> None:
        self._writer = None  # dropped without being closed: the upload is never completed


class _Stream:
    """`read(size)` as of a file, in bytes."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader
        self.size = int(reader.size)

    def read(self, size: int) -> bytes:
        return bytes(self._reader.read(size)) if size else b""
