"""Where the bytes are: a local folder, or (through obstore) an object store or web server."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

import numpy as np
import numpy.typing as npt

from genimage_stream.decode import FileRanges, FileSet
from genimage_stream.remedies import is_utf8, printable
from genimage_stream.storage.within import local_file

if TYPE_CHECKING:
    import pyarrow as pa
    from typing_extensions import Buffer

    from genimage_stream.dataset.columns import IndexColumns
    from genimage_stream.decode import PartialBytes


log = logging.getLogger("genimage_stream")


class Request(Protocol):
    """The bytes of one batch, asked for."""

    def ready(self) -> bool:
        """Whether `source` answers at once."""

    def wait(self, timeout: float) -> bool:
        """Wait until ready, at most `timeout` seconds."""

    def source(self) -> Sequence[Buffer | PartialBytes] | FileRanges:
        """What `BatchDecoder.submit` takes. Raises OSError, naming file and reason, when the bytes did not come."""

    def cancel(self) -> None: ...

    def seconds(self) -> float:
        """Time spent on fetching so far; what the decoder's threads read themselves they count themselves."""


class Reader(Protocol):
    """Fetches samples' bytes from a fixed list of shards. `ahead`: batches to request beyond those being decoded;
    `wants_parts`: it is worth while to tell `request` which parts are needed."""

    ahead: int
    wants_parts: bool

    def request(
        self,
        shards: npt.NDArray[np.int32],
        offsets: npt.NDArray[np.int64],
        sizes: npt.NDArray[np.int64],
        parts: npt.NDArray[np.int64] | None = None,
    ) -> Request:
        """Ask for n samples: `shards` are places in the list, `offsets` and `sizes` in bytes, each (n,); `parts` (n, 3)
        as by `SegmentTable.needed`, None when all is needed."""


@runtime_checkable
class OrderedReader(Reader, Protocol):
    """A reader that works ahead. `wants_order`: in every order, otherwise only where it goes by windows of shards."""

    wants_order: bool

    def begin(self, order: list[int], window: int | None) -> None:
        """An epoch begins in which shards come in this order, `window` of them at a time; None: all at once."""


class PartedFile(Protocol):
    """A file of `size` bytes of which parts are read."""

    size: int

    def parts(self, spans: Sequence[tuple[int, int]]) -> Buffer:
        """`size` bytes of memory that holds these spans (first byte, one past the last) of the file in their places."""


class Store(Protocol):
    """The files of one dataset, by paths within it. Missing ones raise FileNotFoundError that names them."""

    name: str

    def read(self, path: str) -> bytes: ...
    def read_buffer(self, path: str) -> pa.Buffer: ...
    def local_path(self, path: str) -> str | None:
        """The file's place on a local disk; None when it is not on one. It need not be there.

        Raises OSError when a link leads out of the dataset or it is not a regular file.
        """

    def reader(self, shards: list[str]) -> Reader:
        """What fetches samples from these shards."""


@runtime_checkable
class OpenedStore(Store, Protocol):
    """A store that `open_store` made."""

    def file(self, path: str) -> str | PartedFile:
        """The file's place on a local disk, or where there is none, a file of which parts can be fetched."""

    def opening(self) -> dict[str, Any]:
        """The arguments of `open_dataset` that open it again, in another process."""

    def cached_reader(self, shards: list[str], columns: IndexColumns, info: dict[str, Any]) -> Reader:
        """`reader` through the store's cache, if it has one, for the dataset of this index and dataset.json."""


class LocalStore:
    def __init__(self, root: Path) -> None:
        self.name = str(root)
        self._root = root

    def read(self, path: str) -> bytes:
        return Path(self.local_path(path)).read_bytes()

    def read_buffer(self, path: str) -> pa.Buffer:
        import pyarrow as pa

        return pa.py_buffer(self.read(path))

    def file(self, path: str) -> str:
        return self.local_path(path)

    def opening(self) -> dict[str, Any]:
        return {"path": self.name}

    def local_path(self, path: str) -> str:
        return local_file(self._root, path)

    def cached_reader(self, shards: list[str], columns: IndexColumns, info: dict[str, Any]) -> LocalReader:
        return self.reader(shards)

    def reader(self, shards: list[str]) -> LocalReader:
        return LocalReader([self.local_path(shard) for shard in shards])


class LocalReader:
    """Files are read by the decoder's own threads. Only where shards come in windows the kernel is asked to read the
    next window's files front to back while this one is used, so that a spinning disk need not seek."""

    ahead = 0
    wants_order = False
    wants_parts = False  # the decoder's threads find them in the files' own tables

    def __init__(self, paths: list[str]) -> None:
        self._paths = paths
        self._files = FileSet(paths)
        self._windows: list[list[int]] = []
        self._window_of: dict[int, int] = {}
        self._asked = 0
        self._asker: ThreadPoolExecutor | None = None

    def begin(self, order: list[int], window: int | None) -> None:
        self._windows = [] if window is None else [order[at : at + window] for at in range(0, len(order), window)]
        self._window_of = {shard: number for number, part in enumerate(self._windows) for shard in part}
        self._asked = 0

    def _read_ahead(self, shards: npt.NDArray[np.int32]) -> None:
        wanted = max((self._window_of.get(shard, 0) for shard in shards.tolist()), default=0) + 2
        while self._asked < min(wanted, len(self._windows)):
            if self._asker is None:  # asking blocks while the disk's queue is full
                self._asker = ThreadPoolExecutor(1, "genimage-stream-read-ahead")
            self._asker.submit(ask_kernel, [self._paths[shard] for shard in self._windows[self._asked]])
            self._asked += 1

    def request(
        self,
        shards: npt.NDArray[np.int32],
        offsets: npt.NDArray[np.int64],
        sizes: npt.NDArray[np.int64],
        parts: npt.NDArray[np.int64] | None = None,
    ) -> LocalRequest:
        if self._asked < len(self._windows):
            self._read_ahead(shards)
        return LocalRequest(FileRanges(self._files, shards, offsets, sizes))


def read_range(store: Store, shard: str, offset: int, size: int) -> bytes:
    """Bytes of a shard, local or remote, read at once. Raises OSError when they are not all there."""
    local = store.local_path(shard)
    if local is not None:
        with open(local, "rb") as file:
            data = os.pread(file.fileno(), size, offset)
        if len(data) != size:
            raise OSError(
                f"{local} is too short: {size:,} bytes at {offset:,} are not all there; `shard-tools verify` tells "
                "what is damaged"
            )
        return data
    places = np.zeros(1, np.int32), np.array([offset], np.int64), np.array([size], np.int64)
    request = store.reader([shard]).request(*places)
    while not request.ready():
        request.wait(1.0)
    source = request.source()
    assert isinstance(source, Sequence)  # only local shards come as ranges of files
    return bytes(cast("Buffer", source[0]))


def ask_kernel(paths: Sequence[str]) -> int:
    """Ask the kernel to read files into its cache, in this order, up to a quarter of the memory; the bytes asked for.

    A file that is not there is left to those who need it.
    """
    left = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
    asked = 0
    for path in paths:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            size = min(os.fstat(descriptor).st_size, left)
            os.posix_fadvise(descriptor, 0, size, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(descriptor)
        asked += size
        left -= size
    return asked


class LocalRequest:
    def __init__(self, ranges: FileRanges) -> None:
        self._ranges = ranges

    def ready(self) -> bool:
        return True

    def wait(self, timeout: float) -> bool:
        return True

    def source(self) -> FileRanges:
        return self._ranges

    def cancel(self) -> None:
        pass

    def seconds(self) -> float:
        return 0.0


def open_store(
    path: str | Path, options: dict[str, Any] | None = None, cache: tuple[str | Path, int | str] | None = None
) -> OpenedStore:
    """The store at a folder or an address, read through a `cache` = (folder, size) when it is an address.

    Raises ValueError for an address that no store serves.
    """
    text = str(path)
    scheme, mark, rest = text.partition("://")
    if not mark or scheme == "file":
        if cache is not None:
            log.warning("%s is read where it is: cache_dir is for object stores and web servers", text)
        folder = Path("/" + rest.lstrip("/")) if mark else Path(text).expanduser().absolute()
        if not is_utf8(str(folder)):
            raise ValueError(
                f"{printable(str(folder))}: the path is not UTF-8, and Arrow reads no index there: rename it"
            )
        return LocalStore(folder)
    from genimage_stream.storage.remote import RemoteStore

    return RemoteStore(text, options, cache)
