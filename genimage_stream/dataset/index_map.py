"""`.index.arrow`: what a loader needs of the index, in one file that all processes of a host map into memory.

An Arrow IPC file of one uncompressed record batch, so its columns are used where they are, and processes share the
pages. It is a cache. `index.parquet` is what counts: the file says of which one it was made, and each column is
compared with its checksum, and its values with their bounds, before it is used.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from genimage_stream.dataset.checks import BOUNDS, need_words
from genimage_stream.decode.checksum import crc32
from genimage_stream.storage.versions import ChangedError
from genimage_stream.storage.within import check_shard_paths

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 1
WORDS = ("generator", "split", "label", "shard")  # codes, int32; the words are in the file's head
NUMBERS = {"offset": np.int64, "size": np.int64, "width": np.int32, "height": np.int32}
HASHES, KEYS = "sha256", "key"  # the first 64 bits of each; large_string
_HEAD = b"genimage_stream"
_CHECKED_AT_ONCE = 1 << 20  # values, so that what comparing makes of them stays small


class UnusableMapError(Exception):
    """A map that is damaged, or not one; never seen by users, for then the index itself is read."""


@dataclass(frozen=True)
class Origin:
    """The `index.parquet` that a map was made of.

    `identity`: inode, times and size of that file, so that another one is noticed without reading it. `footer`: SHA-256
    of its last bytes, which say where everything is in it. `digest`: SHA-256 of all of it.
    """

    identity: str
    footer: str
    digest: str
    rows: int


@dataclass(frozen=True)
class MapContents:
    """The columns of an index: `words` as (codes, values), `numbers` as in NUMBERS, `hashes` uint64, `keys`
    large_string."""

    words: Mapping[str, tuple[npt.NDArray[np.int32], list[str]]]
    numbers: Mapping[str, npt.NDArray[Any]]
    hashes: npt.NDArray[np.uint64]
    keys: pa.Array


def write_map(path: Path, origin: Origin, contents: MapContents) -> None:
    """Write a map, which replaces one that is there. Raises OSError."""
    import pyarrow as pa

    columns: dict[str, pa.Array] = {name: _arrow(codes) for name, (codes, _) in contents.words.items()}
    columns |= {name: _arrow(contents.numbers[name].astype(kind, copy=False)) for name, kind in NUMBERS.items()}
    columns |= {HASHES: _arrow(contents.hashes), KEYS: contents.keys}
    head = {
        "format": FORMAT,
        "origin": vars(origin),
        "words": {name: values for name, (_, values) in contents.words.items()},
        "checksums": {name: _checksums(column) for name, column in columns.items()},
    }
    text = json.dumps(head, sort_keys=True).encode()
    batch = pa.record_batch(columns).replace_schema_metadata({_HEAD: _checksum_of(text).encode() + text})
    unfinished = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.part")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with pa.ipc.new_file(file, batch.schema) as writer:
                writer.write_batch(batch)
            file.flush()
            os.fsync(file.fileno())
        os.rename(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


class IndexMap:
    """A map that is open: NumPy views of its columns. `origin` says of which index it is.

    Raises UnusableMapError, from the constructor or when a column is asked for.
    """

    def __init__(self, descriptor: int, name: str) -> None:
        """Maps an open file; `name` is its path. The descriptor stays the caller's."""
        import pyarrow as pa

        self.name = name
        self._version = _version(os.fstat(descriptor))
        self._descriptor = os.dup(descriptor)
        weakref.finalize(self, os.close, self._descriptor)
        try:
            self._memory = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
            with pa.ipc.open_file(pa.BufferReader(pa.py_buffer(self._memory))) as file:
                metadata = (file.schema.metadata or {}).get(_HEAD, b"")
                check, text = metadata[:64], metadata[64:]
                if check != _checksum_of(text).encode():
                    raise UnusableMapError(f"{name}: its head is damaged, or none of ours")
                if file.num_record_batches != 1:
                    raise UnusableMapError(f"{name}: it has {file.num_record_batches} record batches")
                self._head: Any = json.loads(text)
                self._batch = file.get_batch(0)
            if self._head["format"] != FORMAT or sys.byteorder != "little":
                raise UnusableMapError(f"{name}: it is of another format")
            self.origin = Origin(**self._head["origin"])
            if self._batch.num_rows != self.origin.rows:
                raise UnusableMapError(f"{name}: it has {self._batch.num_rows:,} rows")
        except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
            raise UnusableMapError(f"{name}: {error}") from error

    def need_unchanged(self) -> None:
        """Raises ChangedError when the file was written to while it is in use; replacing it does no harm."""
        if _version(os.fstat(self._descriptor)) != self._version:
            raise ChangedError(f"{self.name} was written to while it was in use: open the dataset again")

    def words(self, name: str) -> tuple[npt.NDArray[np.int32], list[str]]:
        """Codes and values of one of WORDS."""
        codes = self._numbers(name, np.int32)
        try:
            values = list(self._head["words"][name])
            if not all(isinstance(word, str) for word in values):
                raise ValueError(f"the column {name} has words that are none")
            need_words(values, name, self.name)
            if name == "shard":
                check_shard_paths(values, self.name)
        except (KeyError, TypeError, ValueError) as error:
            raise UnusableMapError(f"{self.name}: {error}") from error
        self._need_between(name, codes, -1, len(values) - 1)
        return codes, values

    def number(self, name: str) -> npt.NDArray[Any]:
        """One of NUMBERS."""
        values = self._numbers(name, NUMBERS[name])
        self._need_between(name, values, *BOUNDS[name])
        return values

    def hashes(self) -> npt.NDArray[np.uint64]:
        hashes = self._numbers(HASHES, np.uint64)
        self._let_go()
        return hashes

    def keys(self) -> pa.Array:
        """large_string, over the file's memory."""
        import pyarrow as pa

        keys = self._column(KEYS)
        if keys.type != pa.large_string() or keys.null_count:
            raise UnusableMapError(f"{self.name}: its keys are of another type")
        try:
            keys.validate(full=True)
        except pa.ArrowException as error:
            raise UnusableMapError(f"{self.name}: {error}") from error
        self._let_go()
        return keys

    def check(self) -> None:
        """All columns. Raises UnusableMapError."""
        for name in WORDS:
            self.words(name)
        for name in NUMBERS:
            self.number(name)
        self.hashes()
        self.keys()

    def _numbers(self, name: str, kind: type[np.generic]) -> npt.NDArray[Any]:
        column = self._column(name)
        if str(column.type) != np.dtype(kind).name or column.null_count or column.offset:
            raise UnusableMapError(f"{self.name}: its column {name} has the type {column.type}")
        return np.frombuffer(column.buffers()[1] if len(column) else b"", kind, len(column))

    def _column(self, name: str) -> pa.Array:
        """A column whose bytes are those that were written."""
        if name not in self._batch.schema.names:
            raise UnusableMapError(f"{self.name}: it has no column {name}")
        column = self._batch.column(name)
        if _checksums(column) != self._head["checksums"].get(name):
            raise UnusableMapError(f"{self.name}: its column {name} is damaged")
        return column

    def _need_between(self, name: str, values: npt.NDArray[Any], low: int, high: int) -> None:
        for at in range(0, len(values), _CHECKED_AT_ONCE):
            part = values[at : at + _CHECKED_AT_ONCE]
            if not (low <= int(part.min()) and int(part.max()) <= high):
                raise UnusableMapError(f"{self.name}: its column {name} has impossible values")
        self._let_go()

    def _let_go(self) -> None:
        """What was looked through stays in the page cache; this process keeps no more of it than it uses from now
        on."""
        if hasattr(mmap, "MADV_DONTNEED"):  # of a mapped file: only the page table forgets
            self._memory.madvise(mmap.MADV_DONTNEED)


def _version(facts: os.stat_result) -> tuple[int, int]:
    return facts.st_mtime_ns, facts.st_size


def _arrow(values: npt.NDArray[Any]) -> pa.Array:
    """Numbers as an Arrow array, sharing memory."""
    import pyarrow as pa

    kind = pa.type_for_alias(values.dtype.name)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def _checksums(column: pa.Array) -> list[int]:
    """CRC-32 of each buffer, without the padding that files have behind them."""
    if column.offset:
        raise UnusableMapError("a column begins within its memory")
    buffers = column.buffers()
    if len(buffers) == 2:
        sizes = [len(column) * column.type.bit_width // 8]
    else:
        ends = np.frombuffer(buffers[1] or b"", np.int64)[: len(column) + 1]
        sizes = [len(ends) * 8, int(ends[-1]) if len(ends) else 0]
    found = []
    for buffer, size in zip(buffers[1:], sizes, strict=True):
        memory = memoryview(buffer or b"")
        if not 0 <= size <= len(memory):
            raise UnusableMapError("a column is longer than its memory")
        found.append(crc32(memory[:size]))
    return found


def _checksum_of(text: bytes) -> str:
    return sha256(text).hexdigest()
