"""Several datasets as one: one index, one store.

Rows come as in a dataset that holds all samples: by generator and split, and only within these part by part. So the
order in which the parts are given changes nothing, and neither do generators that one of them gets later.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

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
    from genimage_stream.storage.store import Extents, Reader, Request, Spans, Store

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

    A shard has the path that it has in its part, with `@1`, `@2`, ... at the end of its stem where parts before have
    the same generator and split. Raises ValueError when samples of one key have different bytes or labels; of equal
    ones one is taken, which a warning says.
    """

    def __init__(self, parts: Sequence[Access]) -> None:
        self.parts = list(parts)
        self.name = " + ".join(part.store.name for part in parts)
        self._stores = [part.store for part in parts]
        self._index = JoinedIndex(self.name, [part.columns for part in parts])
        self._places = self._index.places

    def part_of(self, shard: str) -> int:
        """Which part a shard is of."""
        return self._places[shard][0]

    def _part(self, path: str) -> tuple[Store, str]:
        if path not in self._places:
            raise FileNotFoundError(f"{self.name} has no file {path}")
        number, within = self._places[path]
        return self._stores[number], within

    def local_path(self, path: str) -> str | None:
        store, within = self._part(path) if path in self._places else (self._stores[0], path)
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
        parts = zip(self.parts, stores, strict=True)
        return JoinedStore([replace(part, store=store, columns=IndexColumns(store)) for part, store in parts])

    def reader(self, shards: list[str], contents: Callable[[], ShardContents] | None = None) -> Reader:
        if all(isinstance(store, LocalStore) for store in self._stores):
            return LocalReader([str(self.local_path(shard)) for shard in shards])
        places = [self._places[shard] for shard in shards]
        parts = np.array([number for number, _ in places])
        readers: list[Reader | LocalBytes] = []
        for number, part in enumerate(self.parts):
            paths = [within for of, within in places if of == number]
            if isinstance(part.store, LocalStore):
                readers.append(LocalBytes(part.store, paths))
            else:
                readers.append(part.store.reader(paths, None if contents is None else _of_part(part, paths)))
        return JoinedReader(parts, readers)


def _of_part(part: Access, paths: list[str]) -> Callable[[], ShardContents]:
    """The contents of some shards of a part, by its own index: a cache has them from whoever opened it alone."""

    def contents() -> ShardContents:
        whole, known = part.contents(), part.shards()[1]
        here = [known.index(path) for path in paths]
        return ShardContents(
            whole.identity, [whole.ends[place] for place in here], lambda shard: whole.images(here[shard])
        )

    return contents


class JoinedIndex:
    """The index of all parts as a Parquet file in memory. A `Snapshot` of storage/store.py.

    `places`: of each shard, its part and its path there.
    """

    def __init__(self, name: str, indexes: Sequence[IndexColumns]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._indexes = list(indexes)
        self.places: dict[str, tuple[int, str]] = {}
        sink = pa.BufferOutputStream()
        table = _joined(name, self._indexes, self.places)
        pq.write_table(table, sink, compression="lz4", row_group_size=128 * 1024)
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


def _joined(name: str, indexes: Sequence[IndexColumns], places: dict[str, tuple[int, str]]) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        tables = [index.table(index.names) for index in indexes]
        for index, part in zip(indexes, tables, strict=True):
            if part["shard"].null_count:
                raise ValueError(f"{index.name} has rows without a shard: restore it from a copy, or pack again")
        runs = _in_turn([run for number, table in enumerate(tables) for run in _runs(table, number)])
        tables = [_named(table, number, runs, places) for number, table in enumerate(tables)]
        recoded = any("stored_sha256" in table.schema.names for table in tables)
        if recoded:  # of the others, what is stored is the original
            tables = [
                t if "stored_sha256" in t.schema.names else t.append_column("stored_sha256", t["sha256"])
                for t in tables
            ]
        parts = [tables[run.part].slice(run.start, run.stop - run.start) for run in runs]
        # Types are agreed upon by what has rows and what has none.
        empty = [table.slice(0, 0) for table in tables]
        table = pa.concat_tables([*empty, *parts], promote_options="default").unify_dictionaries()
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


class Run(NamedTuple):
    """Neighbouring rows of a part that have one generator and split. `turn`: how many parts before have both."""

    generator: str
    split: str
    first: tuple[str, str, int]  # key and hash of the part's first sample of these, and how many it has
    part: int
    start: int
    stop: int
    turn: int = 0


def _runs(table: pa.Table, part: int) -> list[Run]:
    import pyarrow as pa

    if not len(table):
        return []
    words, codes = [], []
    for column in ("generator", "split"):
        encoded = table[column].cast(pa.string()).combine_chunks().dictionary_encode()
        words.append(encoded.dictionary.to_pylist())
        codes.append(to_numpy(encoded.indices))
    changes = np.flatnonzero((np.diff(codes[0]) != 0) | (np.diff(codes[1]) != 0)) + 1
    starts, stops = [0, *changes.tolist()], [*changes.tolist(), len(table)]
    of_run = [(words[0][codes[0][at]], words[1][codes[1][at]]) for at in starts]
    totals: Counter[tuple[str, str]] = Counter()
    firsts: dict[tuple[str, str], tuple[str, str]] = {}
    for group, start, stop in zip(of_run, starts, stops, strict=True):
        totals[group] += stop - start
        firsts.setdefault(group, (str(table["key"][start].as_py()), str(table["sha256"][start].as_py())))
    return [
        Run(*group, (*firsts[group], totals[group]), part, start, stop)
        for group, start, stop in zip(of_run, starts, stops, strict=True)
    ]


def _in_turn(runs: list[Run]) -> list[Run]:
    """All rows in their order. What a part holds of other generators decides nothing."""
    found: list[Run] = []
    before: dict[tuple[str, str], list[int]] = {}
    for run in sorted(runs):
        parts = before.setdefault((run.generator, run.split), [])
        if run.part not in parts:
            parts.append(run.part)
        found.append(run._replace(turn=parts.index(run.part)))
    return found


def _named(table: pa.Table, number: int, runs: Sequence[Run], places: dict[str, tuple[int, str]]) -> pa.Table:
    """A part's table with the joined dataset's paths of shards, which `places` learns."""
    import pyarrow as pa

    column = table["shard"].cast(pa.string()).combine_chunks().dictionary_encode()
    codes = to_numpy(column.indices)
    turns = np.zeros(len(column.dictionary), np.int64)
    for run in runs:
        if run.part == number:
            turns[codes[run.start : run.stop]] = run.turn
    paths = []
    for path, turn in zip(column.dictionary.to_pylist(), turns.tolist(), strict=True):
        paths.append(path if not turn else f"{path.removesuffix('.tar')}@{turn}.tar")
        places[paths[-1]] = number, path
    shard = pa.DictionaryArray.from_arrays(column.indices, pa.array(paths, pa.string()))
    return table.set_column(table.schema.get_field_index("shard"), "shard", shard)


class LocalBytes:
    """Reads samples of a local part into memory, for batches of which other samples come from elsewhere."""

    ahead = 0
    wants_parts = False
    wants_order = False

    def __init__(self, store: LocalStore, shards: list[str]) -> None:
        self._store, self._shards = store, shards

    def begin(self, order: list[int], window: int | None, extents: Extents | None = None) -> None:
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

    def begin(self, order: list[int], window: int | None, extents: Extents | None = None) -> None:
        for number, reader in enumerate(self._readers):
            here = [shard for shard in order if self._parts[shard] == number]
            kept = extents and {int(self._place[shard]): extents[shard] for shard in here if shard in extents}
            reader.begin([int(self._place[shard]) for shard in here], window, kept)

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
