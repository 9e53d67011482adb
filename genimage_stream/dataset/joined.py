"""Several datasets as one: one index, one store, whose shards have the number of their part in front.

The parts come in the order of their digests, so the order in which they were given changes nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np

from genimage_stream import schema
from genimage_stream.dataset.columns import IndexColumns
from genimage_stream.dataset.info import DatasetInfo
from genimage_stream.dataset.numbers import from_numpy, to_numpy
from genimage_stream.storage.local import LocalReader, LocalStore
from genimage_stream.storage.store import SampleRanges, ShardContents
from genimage_stream.storage.tar_headers import read_member

if TYPE_CHECKING:
    import pyarrow as pa

    from genimage_stream.dataset.access import Access
    from genimage_stream.storage.store import Reader, Request, Spans, Store

log = logging.getLogger("genimage_stream")


def in_order(parts: Sequence[Access]) -> list[Access]:
    """The parts in an order that does not depend on where they are, where their digests differ."""
    return sorted(parts, key=lambda part: (part.info.plan_digest or "", part.store.name))


def joined_info(parts: Sequence[Access], samples: int) -> DatasetInfo:
    """What dataset.json would say of all parts together."""
    digests = [part.info.plan_digest or "" for part in parts]
    fields: Any = {
        "format_version": schema.FORMAT_VERSION,
        "plan_digest": sha256("\n".join(digests).encode()).hexdigest(),
        "options": {"crop_ready": any(part.info.crop_ready for part in parts)},
        "counts": {"samples": samples},
    }
    return DatasetInfo(" + ".join(part.info.name for part in parts), fields)


class JoinedStore:
    """The files of several datasets, for reading. A `Store` of storage/store.py; its index is made of theirs.

    Raises ValueError when samples of one key have different bytes or labels; of equal ones one is taken, which a
    warning says.
    """

    def __init__(self, stores: Sequence[Store], indexes: Sequence[IndexColumns]) -> None:
        self.name = " + ".join(store.name for store in stores)
        self._stores = list(stores)
        self._index = JoinedIndex(self.name, indexes)

    def _part(self, path: str) -> tuple[Store, str]:
        number, slash, within = path.partition("/")
        if not slash or not number.isdigit() or int(number) >= len(self._stores):
            raise FileNotFoundError(f"{self.name} has no file {path}")
        return self._stores[int(number)], within

    def local_path(self, path: str) -> str | None:
        store, within = self._part(path) if "/" in path else (self._stores[0], path)
        return store.local_path(within)

    def size(self, path: str) -> int:
        store, within = self._part(path)
        return store.size(within)

    def read(self, path: str) -> bytes | bytearray:
        store, within = self._part(path)
        return store.read(within)

    def read_range(self, path: str, offset: int, size: int) -> bytes:
        store, within = self._part(path)
        return store.read_range(within, offset, size)

    def snapshot(self, path: str) -> JoinedIndex:
        assert path == schema.INDEX_FILE
        return self._index

    def anew(self) -> JoinedStore:
        stores = [store.anew() for store in self._stores]
        return JoinedStore(stores, [IndexColumns(store) for store in stores])

    def reader(self, shards: list[str], contents: Callable[[], ShardContents] | None = None) -> Reader:
        if all(isinstance(store, LocalStore) for store in self._stores):
            return LocalReader([str(self.local_path(shard)) for shard in shards])
        parts = np.array([int(shard.partition("/")[0]) for shard in shards])
        readers: list[Reader | LocalBytes] = []
        for number, store in enumerate(self._stores):
            here = np.flatnonzero(parts == number)
            paths = [shards[place].partition("/")[2] for place in here.tolist()]
            if isinstance(store, LocalStore):
                readers.append(LocalBytes(store, paths))
            else:
                readers.append(store.reader(paths, None if contents is None else _of_part(contents, here, number)))
        return JoinedReader(parts, readers)


def _of_part(contents: Callable[[], ShardContents], here: Any, number: int) -> Callable[[], ShardContents]:
    def part() -> ShardContents:
        whole = contents()
        ends = [whole.ends[place] for place in here.tolist()]
        return ShardContents(f"{whole.identity} {number}", ends, lambda shard: whole.images(int(here[shard])))

    return part


class JoinedIndex:
    """The index of all parts as a Parquet file in memory. A `Snapshot` of storage/store.py."""

    def __init__(self, name: str, indexes: Sequence[IndexColumns]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._indexes = list(indexes)
        sink = pa.BufferOutputStream()
        pq.write_table(_joined(name, self._indexes), sink, compression="lz4", row_group_size=128 * 1024)
        self._data = memoryview(sink.getvalue())
        self.size = len(self._data)
        self.version = _version(index.version for index in self._indexes)

    def read_spans(self, spans: Spans) -> memoryview:
        return self._data

    def version_now(self) -> str:
        return _version(index.version_now() for index in self._indexes)

    def keep(self) -> None:
        for index in self._indexes:
            index.keep()


def _version(parts: Any) -> str:
    return sha256("\n".join(parts).encode()).hexdigest()


def _joined(name: str, indexes: Sequence[IndexColumns]) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        tables = [_with_number(index, number) for number, index in enumerate(indexes)]
        recoded = any("stored_sha256" in table.schema.names for table in tables)
        if recoded:  # of the others, what is stored is the original
            tables = [
                t if "stored_sha256" in t.schema.names else t.append_column("stored_sha256", t["sha256"])
                for t in tables
            ]
        table = pa.concat_tables(tables, promote_options="default").unify_dictionaries()
    except pa.ArrowException as error:
        raise ValueError(f"{name} cannot be one dataset: {error}") from error
    keys = table["key"].combine_chunks()
    first = to_numpy(pc.index_in(keys, value_set=keys.unique()))
    if len(keys) == 0 or int(first.max()) + 1 == len(keys):
        return table
    _, kept = np.unique(first, return_index=True)
    again = np.setdiff1d(np.arange(len(keys)), kept)
    for column, what in (("sha256", "other bytes"), ("label", "another label")):
        values = table[column].cast(pa.large_string()).combine_chunks()
        same = pc.equal(values.take(from_numpy(again)), values.take(from_numpy(kept[first[again]])))
        other = again[~to_numpy(pc.fill_null(same, False))]
        if len(other):
            raise ValueError(
                f"{name} cannot be one dataset: {len(other):,} samples have the key of another one and {what}, e.g. "
                f"{keys[int(other[0])].as_py()!r}: select or drop one of them"
            )
    log.warning("%s: %s samples are in several of them, and taken once", name, f"{len(again):,}")
    return table.take(from_numpy(np.sort(kept)))


def _with_number(index: IndexColumns, number: int) -> pa.Table:
    import pyarrow as pa

    table = index.table(index.names)
    column = table["shard"].combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = column.unify_dictionaries().combine_chunks()
    paths = pa.array([f"{number}/{path}" for path in column.dictionary.to_pylist()], pa.string())
    return table.set_column(
        table.schema.get_field_index("shard"), "shard", pa.DictionaryArray.from_arrays(column.indices, paths)
    )


class LocalBytes:
    """Reads samples of a local part into memory, for batches of which other samples come from elsewhere."""

    ahead = 0
    wants_parts = False
    wants_order = False

    def __init__(self, store: LocalStore, shards: list[str]) -> None:
        self._store, self._shards = store, shards

    def begin(self, order: list[int], window: int | None) -> None:
        pass

    def read(self, ranges: SampleRanges) -> list[bytes]:
        return [self._one(ranges, i) for i in range(len(ranges.shards))]

    def _one(self, ranges: SampleRanges, i: int) -> bytes:
        shard, offset, size = self._shards[ranges.shards[i]], int(ranges.offsets[i]), int(ranges.sizes[i])
        if ranges.names is None:
            return self._store.read_range(shard, offset, size)
        return bytes(read_member(self._store, shard, ranges.names[i], offset, size))


class JoinedReader:
    """Batches whose samples come from several stores. A `Reader` of storage/store.py."""

    def __init__(self, parts: Any, readers: Sequence[Reader | LocalBytes]) -> None:
        """`parts`: (shards,) the reader of each shard."""
        self._parts, self._readers = parts, list(readers)
        self._place = np.zeros(len(parts), np.int32)
        for number in range(len(readers)):
            here = parts == number
            self._place[here] = np.arange(int(here.sum()))
        self.ahead = max(reader.ahead for reader in readers)
        self.wants_parts = any(reader.wants_parts for reader in readers)
        self.wants_order = any(reader.wants_order for reader in readers)

    def begin(self, order: list[int], window: int | None) -> None:
        for number, reader in enumerate(self._readers):
            reader.begin([int(self._place[shard]) for shard in order if self._parts[shard] == number], window)

    def request(self, ranges: SampleRanges) -> JoinedRequest:
        found: list[tuple[Any, Request | tuple[LocalBytes, SampleRanges]]] = []
        for number, reader in enumerate(self._readers):
            at = np.flatnonzero(self._parts[ranges.shards] == number)
            if not len(at):
                continue
            part = SampleRanges(
                self._place[ranges.shards[at]],
                ranges.offsets[at],
                ranges.sizes[at],
                None if ranges.parts is None else ranges.parts[at],
                None if ranges.names is None else [ranges.names[i] for i in at.tolist()],
            )
            found.append((at, (reader, part) if isinstance(reader, LocalBytes) else reader.request(part)))
        return JoinedRequest(len(ranges.shards), found)


@dataclass
class JoinedRequest:
    """A `Request` of storage/store.py. `parts`: (places in the batch, where they come from)."""

    samples: int
    parts: list[tuple[Any, Any]]

    def _requests(self) -> list[Any]:
        return [request for _, request in self.parts if not isinstance(request, tuple)]

    def ready(self) -> bool:
        return all(request.ready() for request in self._requests())

    def wait(self, timeout: float) -> bool:
        end = time.monotonic() + timeout
        return all(request.wait(max(0.0, end - time.monotonic())) for request in self._requests())

    def source(self) -> list[Any]:
        found: list[Any] = [None] * self.samples
        for places, request in self.parts:
            data = request[0].read(request[1]) if isinstance(request, tuple) else request.source()
            for place, one in zip(places.tolist(), data, strict=True):
                found[place] = one
        return found

    def cancel(self) -> None:
        for request in self._requests():
            request.cancel()

    def seconds(self) -> float:
        return max((request.seconds() for request in self._requests()), default=0.0)
