"""Writes the files that make shards a dataset: index, quarantine list, dataset.json."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from genimage_stream import __version__
from genimage_stream.dataset.info import GroupCounts, ShardEntry, WrittenFields
from genimage_stream.dataset.numbers import to_numpy
from genimage_stream.dataset.opening import open_index
from genimage_stream.schema import (
    DATASET_FILE,
    FORMAT_VERSION,
    INDEX_FILE,
    MAP_FILE,
    PACK_FOLDER,
    PLAN_FILE,
    QUARANTINE_FILE,
    index_schema,
    quarantine_schema,
)
from genimage_stream.storage.store_at import open_store
from shard_tools import state
from shard_tools.cards.facts import CARD_FILE, CROISSANT_FILE, facts_of
from shard_tools.cards.files import describing_files, is_ours
from shard_tools.growth.held import Held, Rows
from shard_tools.plan import GroupName, GroupPlan, plan_digest
from shard_tools.target.local_storage import Storage

NEXT = f"{PACK_FOLDER}/next"  # files that wait here until the index is theirs
ROW_GROUP = 128 * 1024
log = logging.getLogger("shard_tools")
_DISTINCT = ("key", "sha256", "stored_sha256", "pixel_sha256", "source", "offset", "size")

QuarantineRow = dict[str, str | None]


@dataclass(frozen=True)
class Head:
    """What a dataset is besides its shards. `options`: those that decide bytes; `kept`: types of columns of --keep."""

    options: dict[str, Any]
    plans: Collection[GroupPlan]
    kept: Mapping[str, pa.DataType]
    license: str | None = None


def publish(
    storage: Storage,
    head: Head,
    rows: Iterable[Rows],
    quarantine: Callable[[], Iterable[QuarantineRow]],
    *,
    anew: bool = False,
) -> None:
    """Write the index, the quarantine list and, last of all, dataset.json: with it the dataset is finished.
    Before it the descriptions for other libraries, of which a card that somebody wrote stays.

    `anew`: a dataset that is there already is this one, which another process has published meanwhile.
    `rows`: shard after shard, in the order of the index. `quarantine` is called when all of them were seen. Where a
    dataset is there already, readers that open it meanwhile get the old one or the new one.
    """
    counts: Counter[tuple[str, str, str]] = Counter()
    sizes: Counter[tuple[str, str, str]] = Counter()
    shards: list[ShardEntry] = []
    formats: set[str] = set()

    def tables() -> Iterator[pa.Table]:
        for path, size, table in rows:
            generator, split, _ = path.split("/")
            shards.append({"path": path, "samples": len(table), "size": size})
            for chunk in table["format"].chunks:
                formats.update(chunk.unique().to_pylist())
            for label, n, total in _by_label(table):
                counts[generator, split, label] += n
                sizes[generator, split, label] += total
            yield _fitted(table, schema)

    schema = index_schema(crop_ready=head.options["crop_ready"], kept=head.kept)
    index = _parquet(tables(), schema)
    bad = sorted(quarantine(), key=lambda row: (row["source"] or "", row["reason"] or ""))
    listed = _parquet(iter([pa.Table.from_pylist(bad, schema=quarantine_schema())]), quarantine_schema())
    bad_counts = Counter((r["generator"] or "", r["split"] or "", r["label"] or "") for r in bad)
    groups: list[GroupCounts] = [
        {
            "generator": generator,
            "split": split,
            "label": label,
            "samples": counts[generator, split, label],
            "quarantined": bad_counts[generator, split, label],
            "size": sizes[generator, split, label],
        }
        for generator, split, label in sorted({*counts, *(k for k in bad_counts if all(k))})
    ]
    fields: WrittenFields = {
        "format_version": FORMAT_VERSION,
        "written_by": f"genimage-stream {__version__}",
        "seed": head.options["seed"],
        "options": head.options,
        "plan_digest": plan_digest(head.options, head.plans),
        "planned_files": sum(one.files for one in head.plans),
        "plans": [
            {"generator": one.generator, "split": one.split, "files": one.files, "digest": one.digest}
            for one in sorted(head.plans, key=lambda one: one.name)
        ],
        "counts": {
            "samples": sum(counts.values()),
            "quarantined": len(bad),
            "shards": len(shards),
            "size": sum(s["size"] for s in shards),
            "groups": groups,
        },
        "shards": shards,
    }
    if head.license:
        fields["license"] = head.license
    digest = hashlib.sha256(index).hexdigest()
    files = {QUARANTINE_FILE: listed, **describing_files(facts_of(fields, formats, digest))}
    if not is_ours(storage):
        del files[CARD_FILE]  # somebody wrote another one
    before = state.read_dataset(storage)
    if before is None:
        for name, data in {INDEX_FILE: index, **files}.items():
            storage.write(name, data)
        _write_map(storage)
        state.write_json(storage, DATASET_FILE, fields)
        return
    if anew:
        return
    announced = state.read_plan(storage) or {}
    # Of a publication before this one: the files that follow are not those of its index.
    if announced.pop("index", None) is not None:
        announced.pop("samples", None)
        state.write_json(storage, PLAN_FILE, announced)
    for name, data in files.items():
        storage.write(f"{NEXT}/{name}", data)
    state.write_json(storage, f"{NEXT}/{DATASET_FILE}", fields)
    # Readers that find the index of one number of samples and dataset.json of the other know by this what it means.
    announced |= {"index": digest, "samples": [before.samples, sum(counts.values())]}
    state.write_json(storage, PLAN_FILE, announced)
    storage.write(INDEX_FILE, index)
    finish_publishing(storage)


def finish_publishing(storage: Storage) -> None:
    """Where a dataset has its next index already, let the other files follow; also after an interruption."""
    announced = (state.read_plan(storage) or {}).get("index")
    there = storage.files(NEXT)
    if not announced or not there:
        return
    if hashlib.sha256(storage.read(INDEX_FILE) or b"").hexdigest() == announced:
        for name in (QUARANTINE_FILE, CARD_FILE, CROISSANT_FILE, DATASET_FILE):
            if f"{NEXT}/{name}" in there:
                storage.move(f"{NEXT}/{name}", name)
        _write_map(storage)


def _write_map(storage: Storage) -> None:
    """Write `.index.arrow`, by which readers open an index fast: a cache, without which they go on as well."""
    folder = storage.local_path()
    if folder is None:
        return
    try:
        open_index(open_store(folder)).write_map()
    except OSError as error:
        log.warning("%s was not written (%s); readers make one of their own", storage.shown(MAP_FILE), error)


def withdraw(held: Held, groups: Collection[GroupName]) -> None:
    """Make the dataset one without some of its groups. Their shards stay where they are."""
    plans = {name: one for name, one in held.plans.items() if name not in groups}
    rows = (row for name in sorted(plans) for row in held.rows(name))
    bad = [row for row in held.quarantine if (row["generator"], row["split"]) not in groups]
    head = Head(held.fields["options"], plans.values(), held.kept_with({}), held.fields.get("license"))
    publish(held.storage, head, rows, lambda: bad)


def _fitted(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows whose columns of --keep have the types that these have in all groups together."""
    if table.schema == schema:
        return table
    columns = [table[f.name] if table[f.name].type == f.type else table[f.name].cast(f.type) for f in schema]
    return pa.table(columns, schema=schema)


def _by_label(table: pa.Table) -> Iterator[tuple[str, int, int]]:
    """(label, samples, bytes of their images) of one shard's rows."""
    labels = table["label"].unify_dictionaries().combine_chunks()
    codes, sizes = to_numpy(labels.indices), to_numpy(table["size"])
    for code, label in enumerate(labels.dictionary.to_pylist()):
        rows = codes == code
        yield label, int(rows.sum()), int(sizes[rows].sum())


def _parquet(tables: Iterator[pa.Table], schema: pa.Schema) -> bytes:
    """One Parquet file in memory (about 130 bytes a row), in row groups large enough to read fast."""
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    # A dictionary of values of which nearly each is another one costs time and bytes.
    words = [field.name for field in schema if field.name not in _DISTINCT]
    with (
        pq.ParquetWriter(sink, schema, compression="zstd", use_dictionary=words, write_page_checksum=True) as writer,
        ThreadPoolExecutor(1) as pool,  # compresses one row group while the next one is read
    ):
        written: Future[None] | None = None
        for table in _row_groups(tables):
            if written is not None:
                written.result()
            written = pool.submit(writer.write_table, table, row_group_size=ROW_GROUP)
        if written is not None:
            written.result()
    return bytes(sink.getvalue())


def _row_groups(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(map(len, waiting)) >= ROW_GROUP:
            yield _joined(waiting)
            waiting = []
    if waiting:
        yield _joined(waiting)


def _joined(tables: list[pa.Table]) -> pa.Table:
    """One table, whose words are in dictionaries in the order of their first appearance."""
    table = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    columns = [_first_come(column) if pa.types.is_dictionary(column.type) else column for column in table.columns]
    return pa.table(columns, schema=table.schema)


def _first_come(column: pa.ChunkedArray) -> pa.Array:
    words = column.combine_chunks()
    if isinstance(words, pa.ChunkedArray):
        words = words.chunk(0)
    codes = words.indices.dictionary_encode()
    return pa.DictionaryArray.from_arrays(codes.indices, words.dictionary.take(codes.dictionary))
