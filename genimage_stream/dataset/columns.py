"""The index file as NumPy columns, each read on first use: an index of millions of rows opens in milliseconds.

What a loader needs comes from `.index.arrow` where there is one of this index, or the user's cache can have one: a file
whose pages all processes of a host share (index_map.py).
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from genimage_stream import schema
from genimage_stream.dataset.checks import checked, need_distinct
from genimage_stream.dataset.footer import Chunk, column_chunks
from genimage_stream.dataset.index_map import HASHES, KEYS, NUMBERS, WORDS, IndexMap, MapContents, UnusableMapError
from genimage_stream.dataset.map_files import MapFiles
from genimage_stream.dataset.numbers import from_numpy, to_numpy
from genimage_stream.remedies import printable
from genimage_stream.resources import cores
from genimage_stream.storage.segments import SegmentTable
from genimage_stream.storage.versions import LocalSnapshot, changed

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as pads
    import pyarrow.parquet as pq

    from genimage_stream.storage.store import Store

log = logging.getLogger("genimage_stream")

_T = TypeVar("_T")
Codes = npt.NDArray[np.int32]

KEYS_AT_ONCE = 1 << 18  # rows, whose keys are read in hundredths of a second
_FOOTER_BYTES = 64 << 10  # of a Parquet file, asked for first: enough for the index of some tens of millions of rows

_ROWS_FOR_THREADS = 200_000  # below that, several threads are no faster than one

_DIGITS = np.full(256, 255, np.uint8)  # the value of a hexadecimal digit
_DIGITS[list(b"0123456789abcdef")] = np.arange(16)


class IndexColumns:
    """The columns of the `index.parquet` of a store, of which the requested columns are read and no more.

    What a loader needs is mapped into memory from a file that processes share, where the dataset is in a folder. Other
    columns, or all where there is no such file, stay in memory once read: 48 bytes a row for a loader, and the keys.
    All come from the file that was opened, also when another takes its place, or ChangedError says that this cannot be.
    Safe to use from several threads. `name` is the file's path or address. Raises FileNotFoundError when there is no
    index, ValueError for a file that is not one.
    """

    def __init__(self, store: Store) -> None:
        import pyarrow as pa

        self.name = f"{store.name}/{schema.INDEX_FILE}"
        self._store = store
        self._file = store.snapshot(schema.INDEX_FILE)
        self._lock = threading.RLock()
        self._cache: dict[str, Any] = {}
        self._reading: tuple[int, threading.Thread] | None = None  # the keys, with the process that does it
        self._footer: pq.FileMetaData | None = None
        self._footer_bytes = b""
        self._map: IndexMap | None = None
        self._map_files: MapFiles | None = None
        self._map_wanted = True
        try:
            metadata = self._metadata()
            self.num_rows: int = metadata.num_rows
            self.names: list[str] = metadata.schema.to_arrow_schema().names
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            if isinstance(error, OSError) and error.errno is not None:  # of the disk, not of Arrow
                raise
            raise ValueError(f"{self.name} cannot be read ({printable(str(error))}): pack the dataset again") from error
        # A row has a key and a hash of its own, which take more than one byte however they are compressed.
        if not 0 <= self.num_rows <= self._file.size:
            raise ValueError(
                f"{self.name} cannot hold {self.num_rows:,} rows: it is damaged, so pack the dataset again"
            )
        need_distinct(self.names, self.name)
        missing = [field for field in schema.index_schema().names if field not in (*self.names, *schema.LATER_COLUMNS)]
        if missing:
            raise ValueError(f"{self.name} is not an index of this format: it has no column {', '.join(missing)}")

    def _metadata(self) -> pq.FileMetaData:
        if self._footer is None:
            size = self._file.size
            memory = self._spans([(max(0, size - _FOOTER_BYTES), size)])
            length = int.from_bytes(bytes(memory[-8:-4]), "little") + 8
            if _FOOTER_BYTES < length <= size:
                memory = self._spans([(size - length, size)])
            footer = _parquet(memory).metadata  # which finds out whether there is one
            self._footer_bytes = bytes(memory[max(0, size - length) : size - 8])
            self._footer = footer
        return self._footer

    @cached_property
    def _chunks(self) -> list[list[Chunk]]:
        """Of each row group, where its columns are."""
        self._metadata()
        try:
            return column_chunks(self._footer_bytes)
        except ValueError as error:
            raise ValueError(f"{self.name} is damaged ({error}): restore it from a copy, or pack again") from None

    def _fetched(self, columns: Sequence[str], groups: Sequence[int] | None = None) -> memoryview:
        """The file, of which only these columns (of these row groups) can be read."""
        wanted = self._chunks if groups is None else [self._chunks[number] for number in groups]
        spans = [(start, end) for group in wanted for column, start, end in group if column in columns]
        if any(not 0 <= start <= end <= self._file.size for start, end in spans):
            raise ValueError(
                f"{self.name} is damaged (columns lie outside of it): restore it from a copy, or pack again"
            )
        return self._spans(spans)

    def _spans(self, spans: list[tuple[int, int]]) -> memoryview:
        return memoryview(self._file.read_spans(spans))

    @property
    def version(self) -> str:
        """Tells the index that was opened from later ones, in any process."""
        return self._file.version

    def version_now(self) -> str:
        """The version of the index that is there now. Raises ChangedError when the map in use was written to."""
        if self._map is not None:
            self._map.need_unchanged()
        return self._file.version_now()

    def now(self) -> IndexColumns:
        """The index that is there now. Raises what the constructor raises."""
        return IndexColumns(self._store.anew())

    def keep(self) -> None:
        """Let this version stay readable when the file is replaced; in a folder it does anyway."""
        self._file.keep()

    def _read(self, columns: Sequence[str], groups: Sequence[int] | None = None) -> pa.Table:
        """Columns (of these row groups). Raises ValueError for a damaged page, or a shard outside of the dataset."""
        import pyarrow as pa

        memory = self._fetched(columns, groups)
        wanted = range(len(self._chunks)) if groups is None else groups
        try:
            table = _row_groups(memory, self._metadata(), list(wanted), list(columns))
        except (pa.ArrowException, OSError) as error:
            if self._file.version_now() != self._file.version:
                raise changed(self.name) from error
            raise ValueError(
                f"{self.name} cannot be read ({printable(str(error))}): it is damaged, so restore it from a copy, or "
                "remove it and run the same `shard-tools pack` again"
            ) from error
        if groups is None and len(table) != self.num_rows:
            raise ValueError(
                f"{self.name} has {len(table):,} rows and says that it has {self.num_rows:,}: restore it from a copy, "
                "or pack again"
            )
        try:
            return checked(table, self.name)
        except (pa.ArrowException, UnicodeDecodeError) as error:  # of contents: indices of dictionaries, say
            raise ValueError(f"{self.name} is damaged ({error}): restore it from a copy, or pack again") from error

    def table(self, names: Sequence[str]) -> pa.Table:
        """Whole columns as an Arrow table; not kept."""
        unknown = [name for name in names if name not in self.names]
        if unknown:
            raise ValueError(f"{self.name} has no column {', '.join(unknown)}; its columns: {', '.join(self.names)}")
        # Not `read_table`: it imports Arrow's dataset machinery, and takes a "=" in a folder's name for a column.
        return self._read(names)

    def matches(self, condition: pads.Expression) -> npt.NDArray[np.bool_]:
        """Whether each row meets an Arrow expression; null counts as no. Reads only the columns that it names.

        Raises TypeError for anything but an expression, ValueError for one that does not fit the index or is not a
        condition.
        """
        import pyarrow as pa
        import pyarrow.dataset as pads

        if not isinstance(condition, pads.Expression):
            raise TypeError(
                f"where={condition!r}: an Arrow expression is needed, e.g. pyarrow.compute.field('width') > 64"
            )
        try:
            found = self._evaluated(condition)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, pa.ArrowKeyError) as error:
            reason = str(error).splitlines()[0]
            if "No match for FieldRef" in reason:  # behind which Arrow prints the whole schema
                reason = f"there is no such column in {self.name}; its columns: {', '.join(self.names)}"
            raise ValueError(f"where={condition}: {reason}") from None
        if not pa.types.is_boolean(found["hit"].type):
            raise ValueError(
                f"where={condition}: that is a value ({found['hit'].type}), not a condition: compare it, as in "
                f"{condition} > 0"
            )
        return to_numpy(found["hit"].fill_null(False))

    def _evaluated(self, condition: pads.Expression) -> pa.Table:
        import pyarrow.dataset as pads

        # An expression does not list the columns it names, but it prints them; it may also name them by number.
        text = str(condition)
        names = self.names if "FieldPath" in text else [name for name in self.names if name in text]
        return pads.dataset(self.table(names or self.names[:1])).to_table(columns={"hit": condition}, use_threads=False)

    def load(self, *names: str) -> None:
        """Read those of these columns that are not in memory yet, words or numbers; one call is faster than several."""

        with self._lock:
            for name in names:
                if name not in self._cache and name in (*WORDS, *NUMBERS):
                    take = IndexMap.words if name in WORDS else IndexMap.number
                    if (found := self._mapped(partial(_column_of, take, name))) is not None:
                        self._cache[name] = found
            missing = [name for name in names if name not in self._cache]
            if not missing:
                return
            self._cache |= self._loaded(missing)

    def _loaded(self, names: Sequence[str]) -> dict[str, Any]:
        """Columns of words or numbers as they are in the index itself."""
        import pyarrow as pa

        table = self.table(names)
        columns = {name: table[name] for name in names}
        return {
            name: _codes(column) if pa.types.is_dictionary(column.type) else _numbers(column)
            for name, column in columns.items()
        }

    # -- the map -------------------------------------------------------------------------------------------------------

    def _mapped(self, take: Callable[[IndexMap], _T]) -> _T | None:
        """A column of the map, which is found, or made, when one is first wanted; None where there is none."""
        if not self._map_wanted:
            return None
        if self._map is None:
            self._map = self._found_map()
        while self._map is not None:
            try:
                return take(self._map)
            except UnusableMapError as error:
                log.debug("%s: another map is made", error)
                assert self._map_files is not None
                self._map_files.refuse(self._map)
                self._map = self._found_map()
        self._map_wanted = False
        return None

    def _found_map(self) -> IndexMap | None:
        files = self.map_files()
        return None if files is None else files.find() or files.make(self.map_contents)

    def map_files(self) -> MapFiles | None:
        """The files that have, or may have, what readers need of this index; None when it is in no folder."""
        if self._map_files is None and isinstance(self._file, LocalSnapshot):
            self._map_files = MapFiles(self._store.name, self._file, self.num_rows, self._footer_bytes)
        return self._map_files

    def write_map(self) -> None:
        """Write the map beside the index, for those who write datasets. Raises OSError."""
        files = self.map_files()
        assert files is not None, "an index in a folder"
        files.write_beside(self.map_contents())

    def map_contents(self) -> MapContents:
        """What belongs into a map, from the index itself. Raises ValueError for a damaged index."""
        loaded = self._loaded((*WORDS, *NUMBERS))
        return MapContents(
            {name: loaded[name] for name in WORDS},
            {name: loaded[name] for name in NUMBERS},
            self._read_hashes(),
            self._read_keys(),
        )

    def words(self, name: str) -> tuple[Codes, list[str]]:
        """A column of repeated strings as (codes int32 (rows,), values in sorted order); null has the code -1."""
        self.load(name)
        found: tuple[Codes, list[str]] = self._cache[name]
        return found

    def numbers(self, *names: str) -> tuple[npt.NDArray[np.int64], ...]:
        """Columns of whole numbers as int64 (rows,); null is -1."""
        return tuple(column.astype(np.int64, copy=False) for column in self.native(*names))

    def native(self, *names: str) -> tuple[npt.NDArray[Any], ...]:
        """Columns of whole numbers as wide as the index has them, without a copy; null is -1."""
        self.load(*names)
        return tuple(self._cache[name] for name in names)

    def segments(self) -> SegmentTable | None:
        """The column `segments`; None when the index has none (see segments.py)."""
        import pyarrow as pa

        if "segments" not in self.names:
            return None
        with self._lock:
            if "segments" not in self._cache:
                column = self.table(["segments"])["segments"].cast(pa.large_list(pa.int32())).combine_chunks()
                lengths = to_numpy(column.value_lengths().fill_null(0))
                starts = np.concatenate([[0], np.cumsum(lengths)])
                self._cache["segments"] = SegmentTable(starts, to_numpy(column.flatten().fill_null(0)))
            found: SegmentTable = self._cache["segments"]
            return found

    def part(self, name: str, rows: npt.NDArray[np.int64]) -> pa.Array:
        """A column for some rows, in rising order, read from the row groups that hold them; not kept."""
        metadata = self._metadata()
        sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        ends = np.cumsum(sizes)
        wanted = np.unique(np.searchsorted(ends, rows, side="right"))
        column = self._read([name], wanted.tolist())[name]
        starts = np.concatenate([[0], np.cumsum(np.array(sizes)[wanted])])[:-1]
        group = np.searchsorted(ends, rows, side="right")
        places = rows - (ends - sizes)[group] + starts[np.searchsorted(wanted, group)]
        return column.take(from_numpy(places)).combine_chunks()

    _LACKS_HASHES = (
        "{} has a sample without a sha256, which random crops, flips, transforms and subsets depend on: pack the "
        "dataset again"
    )

    def need_hashes(self) -> None:
        """Raises ValueError when the index says of itself that samples have no sha256, without reading them."""
        metadata = self._metadata()
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        place = metadata.schema.names.index("sha256")
        known = [group.column(place).statistics for group in groups]
        if any(one is not None and one.has_null_count and one.null_count for one in known):
            raise ValueError(self._LACKS_HASHES.format(self.name))

    def hashes(self) -> npt.NDArray[np.uint64]:
        """The first 64 bits of every sample's sha256. Raises ValueError when a hash is not one."""
        with self._lock:
            if HASHES not in self._cache:
                mapped = self._mapped(IndexMap.hashes)
                self._cache[HASHES] = self._read_hashes() if mapped is None else mapped
            found: npt.NDArray[np.uint64] = self._cache[HASHES]
            return found

    def _read_hashes(self) -> npt.NDArray[np.uint64]:
        import pyarrow as pa

        digits = self.table(["sha256"])["sha256"].cast(pa.large_string()).combine_chunks()
        if not len(digits):
            return np.empty(0, np.uint64)
        # Arrow's compute functions turn a Ctrl-C that arrives within them into a TypeError.
        ends = np.frombuffer(digits.buffers()[1], np.int64, len(digits) + 1, 8 * digits.offset)
        if digits.null_count or (np.diff(ends) != 64).any():
            raise ValueError(self._LACKS_HASHES.format(self.name))
        text = np.frombuffer(digits.buffers()[2], np.uint8, 64 * len(digits), int(ends[0]))
        values = _DIGITS[text.reshape(-1, 64)[:, :16]]
        if (values > 15).any():
            raise ValueError(f"{self.name} has a sha256 that is not hexadecimal: pack the dataset again")
        pairs = np.ascontiguousarray(values[:, 0::2] << 4 | values[:, 1::2])
        return pairs.view(">u8")[:, 0].astype(np.uint64)

    def keys(self, rows: npt.NDArray[np.int64]) -> list[str]:
        """The keys of some rows. The first call reads the whole column: tenths of a second for millions of rows."""

        found: list[str] = self._keys().take(from_numpy(rows)).to_pylist()
        for key in found:
            if not key.isprintable():  # keys are in messages, file names and logs
                raise ValueError(f"{self.name} holds the key {key!r}, which cannot be shown: pack the dataset again")
        return found

    def member_names(self, rows: npt.NDArray[np.int64]) -> list[bytes]:
        """How the names of some rows' images begin in their tars: by the key and a dot.

        The keys of a large index are read on a thread of their own, so that the first batch need not wait for them;
        until they are there, each is b"".
        """
        import pyarrow as pa

        if KEYS not in self._cache and self.num_rows > KEYS_AT_ONCE:
            if self._reading is None or self._reading[0] != os.getpid():
                self._reading = os.getpid(), threading.Thread(target=self._keys_aside, name="genimage-stream-keys")
                self._reading[1].start()
            if self._reading[1].is_alive():
                return [b""] * len(rows)
        return [key + b"." for key in self._keys().take(from_numpy(rows)).cast(pa.large_binary()).to_pylist()]

    def _keys_aside(self) -> None:
        with suppress(OSError, ValueError):  # which the next look at the keys meets again
            self._cache[KEYS] = self.all_keys()  # without the lock: other columns are wanted meanwhile

    def row_of_key(self, key: str) -> int | None:
        """The row with a key; None when there is none. The first call reads the whole column."""
        import pyarrow.compute as pc

        row = pc.index(self._keys(), key).as_py()
        return None if row < 0 else int(row)

    def _keys(self) -> pa.Array:
        with self._lock:
            if KEYS not in self._cache:
                self._cache[KEYS] = self.all_keys()
            return self._cache[KEYS]

    def all_keys(self) -> pa.Array:
        """The keys of all rows, large_string; not kept."""
        mapped = self._mapped(IndexMap.keys)
        return self._read_keys() if mapped is None else mapped

    def _read_keys(self) -> pa.Array:
        import pyarrow as pa

        # 64-bit offsets: the keys of a large index may be more than 2 GiB together.
        return self.table(["key"])["key"].cast(pa.large_string()).combine_chunks()


def _column_of(take: Callable[[IndexMap, str], Any], name: str, file: IndexMap) -> Any:
    return take(file, name)


def _parquet(memory: memoryview, footer: pq.FileMetaData | None = None) -> pq.ParquetFile:
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pq.ParquetFile(pa.BufferReader(pa.py_buffer(memory)), metadata=footer, page_checksum_verification=True)


def _row_groups(memory: memoryview, footer: pq.FileMetaData, groups: list[int], columns: list[str]) -> pa.Table:
    """These row groups, read by threads of ours.

    Arrow's own threads let go of the memory, which is Python's, some time after the table is there. An interpreter
    that ends at that moment aborts.
    """
    import pyarrow as pa

    def read(part: list[int]) -> pa.Table:
        with _parquet(memory, footer) as file:
            return file.read_row_groups(part, columns, use_threads=False)

    parts = min(cores(), len(groups)) if footer.num_rows >= _ROWS_FOR_THREADS else 1
    if parts < 2:
        return read(groups)
    with ThreadPoolExecutor(parts) as pool:
        return pa.concat_tables(pool.map(read, [part.tolist() for part in np.array_split(groups, parts)]))


def _codes(column: pa.ChunkedArray) -> tuple[Codes, list[str]]:
    """Dictionary-encoded strings, each row group with a dictionary of its own, as codes into one sorted list."""
    array = column.unify_dictionaries().combine_chunks()
    values: list[str] = array.dictionary.to_pylist()
    if not array.null_count and values == sorted(set(values)):
        as_they_are: Codes = to_numpy(array.indices).astype(np.int32, copy=False)
        return as_they_are, values
    rank = np.empty(len(values) + 1, np.int32)
    rank[np.array(sorted(range(len(values)), key=values.__getitem__), np.int64)] = np.arange(len(values))
    rank[-1] = -1
    indices = array.indices.fill_null(-1) if array.null_count else array.indices
    codes: Codes = rank[to_numpy(indices)]
    return codes, sorted(values)


def _numbers(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    return to_numpy(column.fill_null(-1) if column.null_count else column)
