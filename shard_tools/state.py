"""What an unfinished destination remembers: the plan it was begun with, and the results of finished shards.

All of it lies in `.pack/` and goes when the dataset is finished. A result is written after its shard; a shard without
one is written again, to the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from genimage_stream.schema import DATASET_FILE, idx_path, index_schema
from shard_tools.errors import TargetError
from shard_tools.plan import Plan, Shard
from shard_tools.scan import Rejected
from shard_tools.shard import ShardResult, synset_of
from shard_tools.storage import Storage

STATE = ".pack"
PLAN = f"{STATE}/plan.json"
LOCK = f"{STATE}/lock"


@dataclass
class Planned:
    """The plan's samples as columns in shard order; `source` and `rejected` say where they were found."""

    key: pa.StringArray
    label: pa.StringArray
    class_index: Any  # (n,) int16
    synset: pa.StringArray
    source: pa.StringArray


def read_json(storage: Storage, name: str) -> dict[str, Any] | None:
    raw = storage.read(name)
    if raw is None:
        return None
    try:
        value = json.loads(raw)
        if not isinstance(value, dict):
            raise ValueError("not an object")
    except ValueError as error:
        raise TargetError(
            f"{storage.url}/{name} is damaged ({error}): remove the destination and pack again"
        ) from error
    return value


def write_json(storage: Storage, name: str, value: dict[str, Any]) -> None:
    storage.write(name, (json.dumps(value, indent=1) + "\n").encode())


def begin(storage: Storage, plan: Plan, files: int) -> str:
    """Compare the destination with the plan: "new", "unfinished" or "finished". Raises TargetError when it is
    another's.
    """
    for name, state in ((DATASET_FILE, "finished"), (PLAN, "unfinished")):
        stored = read_json(storage, name)
        if stored is None:
            continue
        what = f"{storage.url} holds {'a' if state == 'finished' else 'an unfinished'} dataset"
        if "plan_digest" not in stored or not isinstance(stored.get("options"), dict):
            raise TargetError(f"{what} that this program did not write: choose another destination")
        for option, value in plan.options.items():
            if stored["options"].get(option) != value:
                raise TargetError(
                    f"{what} begun with {option} = {_shown(stored['options'].get(option))}, not {_shown(value)}: "
                    "give the same options, or choose another destination"
                )
        if stored["plan_digest"] != plan.digest:
            raise TargetError(
                f"{what} of other files (it was planned for {stored.get('planned_files', '?')} files, the source has "
                f"{files}; or their names or sizes differ): choose another destination, or remove this one, or bring "
                "the source back as it was"
            )
        return state
    foreign = [name for name in storage.names() if not name.startswith(STATE + "/")]
    if foreign:
        raise TargetError(
            f"{storage.url} is not empty and holds no dataset (there is {foreign[0]}): choose another destination"
        )
    return "new"


def _shown(value: Any) -> str:
    return "nothing" if value is None else str(value)


def result_name(shard: int) -> str:
    return f"{STATE}/shards/{shard:06d}.arrow"


def save_result(storage: Storage, shard: Shard, result: ShardResult, planned: Planned) -> None:
    table = index_rows(shard, result, planned)
    rest = {"size": result.size, "quarantined": [[q.item, q.reason] for q in result.quarantined]}
    table = table.replace_schema_metadata({"result": json.dumps(rest)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    storage.write(result_name(result.number), sink.getvalue().to_pybytes())


def load_result(storage: Storage, number: int) -> tuple[pa.Table, int, list[tuple[int, str]]] | None:
    """(index rows, bytes of the tar, [(place in the shard, reason)]) of a finished shard, None when there is no
    result.
    """
    raw = storage.read(result_name(number))
    if raw is None:
        return None
    table = pa.ipc.open_file(raw).read_all()
    rest = json.loads(table.schema.metadata[b"result"])
    return table.replace_schema_metadata(None), rest["size"], [(item, reason) for item, reason in rest["quarantined"]]


def finished_shards(storage: Storage, plan: Plan) -> set[int]:
    """Shards whose result, tar and index are all there."""
    there = set(storage.names(f"{STATE}/shards"))
    done = set()
    for number, shard in enumerate(plan.shards):
        if result_name(number) not in there:
            continue
        loaded = load_result(storage, number)
        if loaded is None:
            continue
        size = loaded[1]
        if size == 0 or (storage.size(shard.path) == size and storage.size(idx_path(shard.path)) is not None):
            done.add(number)
    return done


def index_rows(shard: Shard, result: ShardResult, planned: Planned) -> pa.Table:
    """The shard's rows of the index."""
    rows = pa.array([shard.begin + p.item for p in result.packed], pa.int64())
    n = len(result.packed)
    schema = index_schema()
    classes = planned.class_index[rows.to_numpy()]
    unlisted = planned.synset.take(rows).to_pylist()
    facts = [p.facts for p in result.packed]
    columns: dict[str, Any] = {
        "key": planned.key.take(rows),
        "generator": [shard.generator] * n,
        "split": [shard.split] * n,
        "label": planned.label.take(rows).to_pylist(),
        "class_index": pa.array(classes, pa.int16(), mask=classes < 0),
        "synset": [synset_of(int(c), s) for c, s in zip(classes, unlisted, strict=True)],
        "shard": [shard.path] * n,
        "offset": [p.offset for p in result.packed],
        "size": [p.size for p in result.packed],
        "format": [f.format for f in facts],
        "mode": [f.mode for f in facts],
        "width": [f.width for f in facts],
        "height": [f.height for f in facts],
        "jpeg_quality": [f.jpeg_quality for f in facts],
        "progressive": [f.progressive for f in facts],
        "sha256": [p.sha256 for p in result.packed],
        "source": planned.source.take(rows),
    }
    arrays = [
        c if isinstance(c, pa.Array) else pa.array(c, field.type)
        for field, c in zip(schema, (columns[name] for name in schema.names), strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def quarantine_rows(
    plan: Plan, planned: Planned, rejected: list[Rejected], by_shard: Iterator[tuple[int, list[tuple[int, str]]]]
) -> list[dict[str, str | None]]:
    rows: list[dict[str, str | None]] = [
        {"source": r.source, "generator": r.generator, "split": r.split, "label": r.label, "reason": r.reason}
        for r in rejected
    ]
    for number, items in by_shard:
        shard = plan.shards[number]
        for item, reason in items:
            at = shard.begin + item
            rows.append(
                {
                    "source": planned.source[at].as_py(),
                    "generator": shard.generator,
                    "split": shard.split,
                    "label": planned.label[at].as_py(),
                    "reason": reason,
                }
            )
    return sorted(rows, key=lambda row: row["source"] or "")
