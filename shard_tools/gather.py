"""The end of packing: the results of all shards become the index, the quarantine list and dataset.json."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from genimage_stream import __version__
from genimage_stream.dataset.info import GroupCounts, ShardEntry, WrittenFields
from genimage_stream.schema import (
    DATASET_FILE,
    FORMAT_VERSION,
    INDEX_FILE,
    QUARANTINE_FILE,
    index_schema,
    quarantine_schema,
)
from genimage_stream.vocabulary import LABELS
from shard_tools import state
from shard_tools.target.local_storage import Storage
from shard_tools.work import PackOptions, Work

ROW_GROUP = 128 * 1024


def gather(work: Work, options: PackOptions, storage: Storage) -> None:
    """Write the index, the quarantine list and, last of all, dataset.json: with it the dataset is finished."""
    plan = work.plan
    counts: Counter[tuple[str, str, str]] = Counter()
    sizes: Counter[tuple[str, str, str]] = Counter()
    shards: list[ShardEntry] = []
    quarantined: list[tuple[int, list[tuple[int, str]]]] = []

    def tables() -> Iterator[pa.Table]:
        for number, shard in enumerate(plan.shards):
            loaded = state.load_result(storage, number)
            assert loaded is not None, shard.path
            table, size, bad = loaded
            if bad:
                quarantined.append((number, bad))
            if size:
                shards.append({"path": shard.path, "samples": len(table), "size": size})
            for label, n, total in _by_label(table):
                counts[shard.generator, shard.split, label] += n
                sizes[shard.generator, shard.split, label] += total
            yield table

    storage.write(
        INDEX_FILE, _parquet(tables(), index_schema(crop_ready=options.crop_ready, kept=work.planned.kept_types))
    )
    rows = state.quarantine_rows(plan, work.planned, work.rejected, iter(quarantined))
    table = pa.Table.from_pylist(rows, schema=quarantine_schema())
    storage.write(QUARANTINE_FILE, _parquet(iter([table]), quarantine_schema()))
    bad_counts = Counter((r["generator"] or "", r["split"] or "", r["label"] or "") for r in rows)
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
        "seed": options.seed,
        "options": plan.options,
        "plan_digest": plan.digest,
        "planned_files": len(work.row),
        "counts": {
            "samples": sum(counts.values()),
            "quarantined": len(rows),
            "shards": len(shards),
            "size": sum(s["size"] for s in shards),
            "groups": groups,
        },
        "shards": shards,
    }
    state.write_json(storage, DATASET_FILE, fields)


def lost_groups(dataset: WrittenFields) -> list[str]:
    """Sentences about the groups of a dataset.json that ended in quarantine as a whole."""
    return [
        f"{group['generator']} {group['split']} {group['label']}: none of its files could be packed, "
        f"{group['quarantined']:,} are in quarantine"
        for group in dataset["counts"]["groups"]
        if group["quarantined"] and not group["samples"]
    ]


def _by_label(table: pa.Table) -> Iterator[tuple[str, int, int]]:
    labels, sizes = np.array(table["label"].to_pylist()), table["size"].to_numpy()
    for label in LABELS:
        rows = labels == label
        if rows.any():
            yield label, int(rows.sum()), int(sizes[rows].sum())


def _parquet(tables: Iterator[pa.Table], schema: pa.Schema) -> bytes:
    """One Parquet file in memory (about 130 bytes a row), in row groups large enough to read fast."""
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, schema, compression="zstd", write_page_checksum=True) as writer:
        waiting: list[pa.Table] = []
        for table in tables:
            waiting.append(table)
            if sum(map(len, waiting)) >= ROW_GROUP:
                writer.write_table(_joined(waiting), row_group_size=ROW_GROUP)
                waiting = []
        if waiting:
            writer.write_table(_joined(waiting), row_group_size=ROW_GROUP)
    return bytes(sink.getvalue())


def _joined(tables: list[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables).unify_dictionaries().combine_chunks()
