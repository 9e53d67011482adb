"""Sources in an object store: files below an address, listed once and read by key or by range."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from shard_tools.addresses import failed, first_line, open_store
from shard_tools.errors import SourceError, ToolError
from shard_tools.names import is_system_file
from shard_tools.sources.base import ContainerListing, FolderListing, Location
from shard_tools.sources.odd_keys import list_by_maker, oddity


@dataclass(frozen=True)
class ObjectContainer:
    url: str  # s3://bucket/prefix
    name: str = ""

    @property
    def prefix(self) -> str:
        return self.name + "/" if self.name else ""

    @property
    def folders(self) -> tuple[str, ...]:
        return tuple(self.name.split("/")) if self.name else ()

    def contents(self, found: Callable[[int], None] = lambda files: None) -> ContainerListing:
        """Every object below the address; `found` is told of each answer of the store.

        Raises ToolError when it cannot be listed. Objects whose keys are no paths are listed as unreadable.
        """
        import obstore

        try:
            try:
                return _listing(self._batches(), found)
            except obstore.exceptions.InvalidPathError as error:
                return _listing(list_by_maker(self.url, first_line(error)), found)
        except ToolError:
            raise
        except Exception as error:
            raise ToolError(
                failed(f"{self.url} cannot be listed", error, "look at the address and the credentials")
            ) from error

    def _batches(self) -> Iterator[list[tuple[str, int]]]:
        import obstore

        for batch in obstore.list(open_store(self.url, ToolError)):
            yield [(entry["path"], entry["size"]) for entry in batch]

    @property
    def sequential(self) -> None:
        return None

    def reader(self) -> ObjectReader:
        return ObjectReader(self.url)


def _listing(batches: Iterator[list[tuple[str, int]]], found: Callable[[int], None]) -> ContainerListing:
    listing = ContainerListing()
    folders: dict[str, FolderListing] = {}
    for batch in batches:
        found(len(batch))
        for key, size in batch:
            path, _, name = key.rpartition("/")
            reason = oddity(key)
            if reason is None and any(map(is_system_file, [name, *(path.split("/") if path else ())])):
                listing.system_files += 1
                continue
            folder = folders.setdefault(path, FolderListing(path))
            folder.names.append(name)
            folder.sizes.append(size)
            if reason is not None:
                folder.unreadable[name] = reason
    listing.folders = [folders[path] for path in sorted(folders)]
    return listing


class ObjectReader:
    def __init__(self, url: str) -> None:
        self._url = url
        self._ranges = ObjectRanges()

    def read(self, where: Location) -> bytes:
        if where.size == 0:
            return b""
        return self._ranges.read(f"{self._url.rstrip('/')}/{where.path}", where.size, 0, whole=True)

    def close(self) -> None:
        pass


class ObjectRanges:
    """Ranges of objects by their full addresses; several threads may read at once."""

    def __init__(self) -> None:
        self._stores: dict[str, Any] = {}
        self._lock = threading.Lock()

    def read(self, url: str, size: int, offset: int, *, whole: bool = False) -> bytes:
        """`size` bytes from `offset`; `whole`: they have to be all there is. Raises SourceError."""
        import obstore

        scheme, _, rest = url.partition("://")
        bucket, _, path = rest.partition("/")
        root = f"{scheme}://{bucket}"
        with self._lock:
            store = self._stores.get(root)
            if store is None:
                store = self._stores[root] = open_store(root, SourceError)
        try:
            if whole:
                data = bytes(obstore.get(store, path).bytes())
            else:
                data = bytes(obstore.get_range(store, path, start=offset, length=size))
        except Exception as error:
            raise SourceError(
                f"{url} was listed but cannot be read now ({first_line(error)}): bring the source back and run the "
                "same command again to go on"
            ) from error
        if len(data) != size:
            raise SourceError(
                f"{url} had another size when it was listed: somebody is changing the source; run the command again "
                "when that is over"
            )
        return data
