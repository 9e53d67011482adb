"""What an unfinished destination remembers: the plan it was begun with, and the results of finished shards.

All of it lies in `.pack/` and goes when the dataset is finished. A result is written after its shard; a shard without
one is written again, to the same bytes.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genimage_stream.dataset.info import DatasetInfo, parse_info
from genimage_stream.schema import (
    DATASET_FILE,
    INDEX_FILE,
    PACK_FOLDER,
    PLAN_FILE,
    QUARANTINE_FILE,
    idx_path,
    index_schema,
    kept_column,
)
from genimage_stream.vocabulary import synsets
from shard_tools.errors import TargetError
from shard_tools.names import is_system_file
from shard_tools.plan import Plan, Shard
from shard_tools.scan import Rejected
from shard_tools.shard import ShardResult
from shard_tools.target.local_storage import Storage

RESULTS = f"{PACK_FOLDER}/shards"


@dataclass
class Planned:
    """The plan's samples as columns in shard order; `source` and `rejected` say where they were found."""

    key: pa.StringArray
    label: pa.StringArray
    class_index: Any  # (n,) int16
    synset: pa.StringArray
    source: pa.StringArray
    kept: dict[str, pa.Array] = field(default_factory=dict)  # the columns of --keep

    @property
    def kept_types(self) -> dict[str, pa.DataType]:
        return {name: values.type for name, values in self.kept.items()}


def read_json(storage: Storage, name: str) -> dict[str, Any] | None:
    raw = storage.read(name)
    if raw is None:
        return None
    try:
        value = json.loads(raw)
        if not isinstance(value, dict):
            raise ValueError("not an object")
    except (ValueError, RecursionError) as error:
        raise TargetError(
            f"{storage.shown(name)} is damaged ({error}): remove the destination and pack again"
        ) from error
    return value


def read_plan(storage: Storage) -> dict[str, Any] | None:
    """What a run that is not finished says of itself. Raises TargetError for lists that are none."""
    plan = read_json(storage, PLAN_FILE)
    for name, words in (("groups", 2), ("replaced", 2), ("drop", 0)):
        value = (plan or {}).get(name, [])
        if not isinstance(value, list) or not all(_is_words(one, words) for one in value):
            raise TargetError(
                f"{storage.shown(PLAN_FILE)} is damaged (its {name} are none): remove that file and pack again"
            )
    return plan


def _is_words(value: Any, count: int) -> bool:
    """Whether it is a list of `count` names of folders, or, without a count, such a name."""
    if count:
        return isinstance(value, list) and len(value) == count and all(_is_words(one, 0) for one in value)
    return isinstance(value, str) and value not in ("", ".", "..") and "/" not in value and value.isprintable()


def read_dataset(storage: Storage) -> DatasetInfo | None:
    """dataset.json, of which every field is there; None when there is none. Raises TargetError when it is another's."""
    raw = storage.read(DATASET_FILE)
    if raw is None:
        return None
    try:
        return _checked(bytes(raw), storage.shown(DATASET_FILE))
    except ValueError as error:
        raise TargetError(str(error)) from error


@lru_cache(maxsize=1)
def _checked(raw: bytes, shown: str) -> DatasetInfo:
    """Asked for about ten times by one command, and a tenth of a second each for thousands of shards."""
    return parse_info(raw, shown).check_complete()


def write_json(storage: Storage, name: str, value: Mapping[str, Any]) -> None:
    storage.write(name, json_bytes(value))


def json_bytes(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()


def begin(storage: Storage, plan: Plan, files: int) -> str:
    """Compare the destination with the plan: "new", "unfinished" or "finished". Raises TargetError when it is
    another's; of which files a finished one is, growth/compare.py finds out.
    """
    for name, state in ((DATASET_FILE, "finished"), (PLAN_FILE, "unfinished")):
        stored: Mapping[str, Any] | None
        if name == DATASET_FILE:
            stored = None if (info := read_dataset(storage)) is None else info.fields
        else:
            stored = read_plan(storage)
        if stored is None:
            continue
        what = f"{storage.url} holds {'a' if state == 'finished' else 'an unfinished'} dataset"
        if "plan_digest" not in stored or not isinstance(stored.get("options"), dict):
            raise TargetError(f"{what} that this program did not write: choose another destination")
        for option in dict.fromkeys((*plan.options, *stored["options"])):
            value = plan.options.get(option)
            if stored["options"].get(option) != value:
                raise TargetError(
                    f"{what} begun with {option} = {_shown(option, stored['options'].get(option))}, not "
                    f"{_shown(option, value)}: give the same options, or choose another destination"
                )
        if state == "unfinished" and stored["plan_digest"] != plan.digest:
            raise TargetError(
                f"{what} of other files (it was planned for {stored.get('planned_files', '?')} files, the source has "
                f"{files}; or their names or sizes differ): choose another destination, or remove this one, or bring "
                "the source back as it was"
            )
        return state
    foreign = [
        name
        for name in sorted(storage.files())
        if not name.startswith(PACK_FOLDER + "/") and not is_system_file(name.rpartition("/")[2])
    ]
    if foreign:
        raise TargetError(
            f"{storage.url} is not empty and holds no dataset (there is {foreign[0]}): choose another destination"
        )
    return "new"


def is_ours(storage: Storage) -> bool:
    """Whether the destination holds a dataset, or the beginning of one."""
    return read_dataset(storage) is not None or read_plan(storage) is not None


def lost_files(storage: Storage) -> list[str]:
    """Files of a finished dataset that are missing, and shards of another size than it says; a shard also where its
    index is missing.
    """
    there = storage.files()
    dataset = read_dataset(storage)
    assert dataset is not None
    lost = [name for name in (INDEX_FILE, QUARANTINE_FILE) if name not in there]
    for shard in dataset.fields["shards"]:
        path = shard["path"]
        if there.get(path) != shard["size"] or idx_path(path) not in there:
            lost.append(path)
    return lost


def _shown(option: str, value: Any) -> str:
    if option == "shard_size" and type(value) is int:
        # As it was typed, which is a whole number of some unit.
        units = {"GB": 10**9, "GiB": 2**30, "MB": 10**6, "MiB": 2**20, "kB": 10**3, "KiB": 2**10}
        return next((f"{value // of}{unit}" for unit, of in units.items() if value % of == 0), str(value))
    return "nothing" if value is None else str(value)


def result_name(shard: int) -> str:
    return f"{RESULTS}/{shard:06d}.arrow"


def save_result(storage: Storage, shard: Shard, result: ShardResult, planned: Planned) -> None:
    table = index_rows(shard, result, planned)
    rest = {"size": result.size, "quarantined": [[q.item, q.reason] for q in result.quarantined]}
    table = table.replace_schema_metadata({"result": json.dumps(rest)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    raw = sink.getvalue().to_pybytes()
    # A result that a power failure tears is found out by its checksum, and its shard is written again.
    storage.write(result_name(result.number), raw + zlib.crc32(raw).to_bytes(4, "little"), durable=False)


def load_result(
    storage: Storage, number: int, shard: Shard, planned: Planned
) -> tuple[pa.Table, int, list[tuple[int, str]]] | None:
    """(index rows, bytes of the tar, [(place in the shard, reason)]) of a finished shard, None when there is no
    result, or one of another shard.
    """
    raw = storage.read(result_name(number))
    if raw is None or zlib.crc32(memoryview(raw)[:-4]).to_bytes(4, "little") != raw[-4:]:
        return None
    try:
        table = pa.ipc.open_file(pa.py_buffer(raw)[:-4]).read_all()
        rest = json.loads((table.schema.metadata or {})[b"result"])
        size, quarantined = int(rest["size"]), [(int(item), str(reason)) for item, reason in rest["quarantined"]]
        _check_result(table, size, quarantined, shard, planned)
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError, OverflowError, RecursionError):
        return None  # with the checksum of what it is
    return table.replace_schema_metadata(None), size, quarantined


def _check_result(
    table: pa.Table, size: int, quarantined: list[tuple[int, str]], shard: Shard, planned: Planned
) -> None:
    """Raises ValueError or ArrowInvalid for what no packer writes of this shard."""
    table.validate(full=True)
    schema = index_schema(crop_ready="stored_sha256" in table.column_names, kept=planned.kept_types)
    sound = table.schema.equals(schema) and (size > 0) == (len(table) > 0)
    files = shard.end - shard.begin
    sound = sound and len(table) + len(quarantined) == files and all(0 <= item < files for item, _ in quarantined)
    for name, word in (("generator", shard.generator), ("split", shard.split), ("shard", shard.path)):
        sound = sound and all(chunk.unique().to_pylist() == [word] for chunk in table[name].chunks if len(chunk))
    if not sound:
        raise ValueError("of another shard")


def finished_shards(
    storage: Storage, shards: Sequence[Shard], planned: Planned, places: Mapping[int, Collection[str]]
) -> set[int]:
    """Of some shards, those whose result, tar and index are all there, at one of their `places`."""
    there = storage.files()
    done = set()
    for number, paths in places.items():
        if result_name(number) not in there:
            continue
        loaded = load_result(storage, number, shards[number], planned)
        if loaded is None:
            continue
        size = loaded[1]
        if size == 0 or any(there.get(path) == size and idx_path(path) in there for path in paths):
            done.add(number)
    return done


def index_rows(shard: Shard, result: ShardResult, planned: Planned) -> pa.Table:
    """The shard's rows of the index."""
    schema = index_schema(crop_ready=result.crop_ready, kept=planned.kept_types)
    if not result.packed:
        return schema.empty_table()
    items, offsets, sizes, facts, digests, stored_digests, pixel_digests, segments = zip(*result.packed, strict=True)
    rows = pa.array(items, pa.int64()).to_numpy() + shard.begin
    picked = pa.array(rows)
    n = len(items)
    classes = planned.class_index[rows]
    listed = pa.array(synsets(), pa.string()).take(pa.array(classes, mask=classes < 0))
    columns: dict[str, Any] = {
        "key": planned.key.take(picked),
        "generator": _constant(shard.generator, n),
        "split": _constant(shard.split, n),
        "label": planned.label.take(picked),
        "class_index": pa.array(classes, pa.int16(), mask=classes < 0),
        "synset": pc.coalesce(listed, planned.synset.take(picked)),
        "shard": _constant(shard.path, n),
        "offset": offsets,
        "size": sizes,
        "format": [f.format for f in facts],
        "mode": [f.mode for f in facts],
        "width": [f.width for f in facts],
        "height": [f.height for f in facts],
        "jpeg_quality": [f.jpeg_quality for f in facts],
        "chroma": [f.chroma for f in facts],
        "progressive": [f.progressive for f in facts],
        "sha256": digests,
        "source": planned.source.take(picked),
        "stored_sha256": stored_digests,
        "pixel_sha256": pixel_digests,
        "segments": segments,
        **{kept_column(name): values.take(picked) for name, values in planned.kept.items()},
    }
    return pa.Table.from_arrays([_column(columns[field.name], field.type) for field in schema], schema=schema)


def _constant(word: str, n: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([word]))


def _column(values: Any, kind: pa.DataType) -> pa.Array:
    """A column of the index from an array or a sequence; words become dictionaries."""
    if not pa.types.is_dictionary(kind):
        return values if isinstance(values, pa.Array) else pa.array(values, kind)
    if isinstance(values, pa.DictionaryArray):
        return values
    words = values if isinstance(values, pa.Array) else pa.array(values, pa.string())
    return words.dictionary_encode()


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
    return rows
