"""Where the bytes are: a local folder, or (through obstore) an object store or web server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from genimage_stream.decode import FileRanges, FileSet

if TYPE_CHECKING:
    import pyarrow as pa
    from typing_extensions import Buffer


class Request(Protocol):
    """The bytes of one batch, asked for."""

    def ready(self) -> bool:
        """Whether `source` answers at once."""

    def wait(self, timeout: float) -> bool:
        """Wait until ready, at most `timeout` seconds."""

    def source(self) -> Sequence[Buffer] | FileRanges:
        """What `BatchDecoder.submit` takes. Raises OSError, naming file and reason, when the bytes did not come."""

    def cancel(self) -> None: ...

    def seconds(self) -> float:
        """Time spent on fetching so far; what the decoder's threads read themselves they count themselves."""


class Reader(Protocol):
    """Fetches samples' bytes from a fixed list of shards. `ahead`: batches to request beyond those being decoded."""

    ahead: int

    def request(
        self, shards: npt.NDArray[np.int32], offsets: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]
    ) -> Request:
        """Ask for n samples: `shards` are places in the list, `offsets` and `sizes` in bytes, each (n,)."""


class Store(Protocol):
    """The files of one dataset, by paths within it. Missing ones raise FileNotFoundError that names them."""

    name: str

    def read(self, path: str) -> bytes: ...
    def read_buffer(self, path: str) -> pa.Buffer: ...
    def local_path(self, path: str) -> str | None:
        """The file's place on a local disk; None when it is not on one. It need not be there."""

    def reader(self, shards: list[str]) -> Reader: ...


class LocalStore:
    def __init__(self, root: Path) -> None:
        self.name = str(root)
        self._root = root

    def read(self, path: str) -> bytes:
        return (self._root / path).read_bytes()

    def read_buffer(self, path: str) -> pa.Buffer:
        import pyarrow as pa

        return pa.py_buffer(self.read(path))

    def local_path(self, path: str) -> str | None:
        return str(self._root / path)

    def reader(self, shards: list[str]) -> LocalReader:
        return LocalReader([str(self._root / shard) for shard in shards])


class LocalReader:
    """Files are read by the decoder's own threads: there is nothing to fetch beforehand."""

    ahead = 0

    def __init__(self, paths: list[str]) -> None:
        self._files = FileSet(paths)

    def request(
        self, shards: npt.NDArray[np.int32], offsets: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]
    ) -> LocalRequest:
        return LocalRequest(FileRanges(self._files, shards, offsets, sizes))


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


def open_store(path: str | Path, options: dict[str, Any] | None = None) -> Store:
    """The store at a folder or an address. Raises ValueError for an address that no store serves."""
    text = str(path)
    if "://" not in text:
        return LocalStore(Path(text).expanduser().absolute())
    raise ValueError(f"{text}: no store for this kind of address")
