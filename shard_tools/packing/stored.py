"""A plan as a file in `.pack/`, so that other processes carry it out without listing the sources again.

An Arrow file of one batch, a row per planned sample in shard order; what is not a column is JSON in its metadata.
Containers are stored by their fields, never pickled: the file is read by every machine that reaches the folder.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import astuple
from importlib import import_module
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shard_tools import state
from shard_tools.addresses import is_object_url
from shard_tools.errors import TargetError
from shard_tools.packing import sound
from shard_tools.plan import GroupPlan, Plan, Shard
from shard_tools.scan import Group, Listing, Rejected
from shard_tools.sources.base import Container
from shard_tools.sources.zip_reader import Segment
from shard_tools.target.local_storage import ShardFile, Storage
from shard_tools.work import Work

# Loaded where they are met: those of tables take a tenth of a second.
_KINDS = {
    "FolderContainer": "shard_tools.sources.folder",
    "ObjectContainer": "shard_tools.sources.object_store",
    "ZipContainer": "shard_tools.sources.split_zip",
    "TarContainer": "shard_tools.sources.tar_file",
    "TableContainer": "shard_tools.sources.arrow",
}
_KEPT = "kept:"  # before the names of columns of --keep
_COLUMNS = (
    ("key", pa.string()),
    ("class_index", pa.int16()),
    ("synset", pa.string()),
    ("source", pa.string()),
    ("group", pa.int32()),
    ("name", pa.string()),
    ("size", pa.int64()),
    ("offset", pa.int64()),
    ("stored", pa.int64()),
    ("method", pa.int16()),
    ("crc", pa.uint32()),
)
_MEANING = ("class_index", "synset", "source")  # what decides bytes and is not in the plan's digest


def save(work: Work, storage: Storage, name: str) -> str:
    """Write a plan, compressed where it is sent over a network. Returns the file's sha256."""
    listing, plan = work.listing, work.plan
    rest = {
        "containers": [_plain(one) for one in listing.containers],
        "groups": [astuple(one) for one in listing.groups],
        "shards": [astuple(one) for one in plan.shards],
        "plans": [astuple(one) for one in plan.groups],
        "options": plan.options,
        "rejected": [astuple(one) for one in work.rejected],
        "system_files": listing.system_files,
        "problems": listing.problems,
        "notes": listing.notes,
        "changed": listing.changed,
    }
    table = _table(work).replace_schema_metadata({"plan": json.dumps(rest)})
    compression = None if storage.local_path() is not None else "zstd"
    file = storage.create(name)
    sink = _Sink(file)
    try:
        with pa.ipc.new_file(
            pa.PythonFile(sink, mode="w"), table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)
        ) as writer:
            writer.write_table(table, max_chunksize=max(1, len(table)))
        file.commit()
        return sink.sha256.hexdigest()
    except BaseException:
        file.abort()
        raise


def load(
    storage: Storage,
    begun: Mapping[str, Any],
    only: Collection[int] | None = None,
    columns: Collection[str] | None = None,
) -> Work:
    """The plan of which plan.json says `begun`; of the samples those of the shards `only` (None: all), and of the
    columns some (None: all, and those of --keep), the others being empty. Raises TargetError when it is not there any
    more, or damaged."""
    name = begun["list"]
    try:
        table, schema = _read(storage, name, begun.get("sha256"), columns)
        sound.check_schema(schema, _COLUMNS, _KEPT, some=False)
        table.validate(full=True)
        stored = json.loads((schema.metadata or {})[b"plan"])
        shards = [Shard(*one) for one in stored["shards"]]
        plan = Plan(np.empty(0, np.int64), shards, [GroupPlan(*one) for one in stored["plans"]], stored["options"])
        sound.check_options(plan.options)
        sound.check_shards(shards, plan.groups)
        counts = begun["planned_shards"], begun["planned_files"], begun["planned_files"]
        sound.need((len(shards), len(table), shards[-1].end if shards else 0) == counts, "counts")
        sound.need(begun.get("plan_digest") == plan.digest, "digest")
        groups = [Group(*one) for one in stored["groups"]]
        containers = [_container(kind, values) for kind, values in stored["containers"]]
        sound.check_containers(containers)
        sound.check_groups(groups, len(containers))
        rejected = [Rejected(*one) for one in stored["rejected"]]
        sound.check_rejected(rejected)
        sound.check_changed(stored["changed"])
        sound.need(sound.is_count(stored["system_files"]), "counts")
        for lines in ("problems", "notes"):
            sound.need(sound.are_texts(stored[lines]), lines)
        if only is not None:
            plan.shards, table = _some(shards, table, only)
        sound.check_values(table, len(groups), [name for name, _ in _COLUMNS])
        values = {name: _column(table, name, kind) for name, kind in _COLUMNS}
        group = values["group"].to_numpy()
        label = pa.array([one.label for one in groups], pa.string()).take(values["group"])
        kept = {
            one.name.removeprefix(_KEPT): _column(table, one.name, one.type)
            for one in schema
            if one.name.startswith(_KEPT)
        }
        listing = Listing(
            containers,
            groups,
            group,
            synset=values["synset"],
            kept=kept,
            system_files=int(stored["system_files"]),
            problems=stored["problems"],
            notes=stored["notes"],
            changed=stored["changed"],
            name=values["name"],
            **{name: values[name].to_numpy() for name in ("size", "class_index", "offset", "stored", "method", "crc")},
        )
        planned = state.Planned(values["key"], label, listing.class_index, listing.synset, values["source"], kept)
    except (pa.ArrowException, OSError, LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise TargetError(
            f"{storage.shown(name)} cannot be read ({error}): run the same command again; if that does not help, "
            "remove the destination and plan anew"
        ) from error
    return Work(listing, plan, planned, np.arange(len(table)), rejected)


def same(stored: Work, work: Work) -> bool:
    """Whether two plans give the same bytes."""
    if stored.plan.digest != work.plan.digest or stored.planned.kept_types != work.planned.kept_types:
        return False
    if sorted(map(_row, stored.rejected)) != sorted(map(_row, work.rejected)):
        return False
    names = [*_MEANING, *(_KEPT + name for name in work.planned.kept)]
    return bool(_table(stored).select(names).equals(_table(work).select(names)))


def is_within(stored: Work, sources: Collection[str], unfolded: str | None) -> bool:
    """Whether a plan names nothing but what is in the sources, or in the folder of what was `unfolded` from them:
    whoever may write to the destination may have changed it, and shall not get at other files of the person who
    packs."""
    listing = stored.listing
    roots = [one if is_object_url(one) else os.path.abspath(one) for one in sources]
    roots = [os.path.dirname(root) if os.path.isfile(root) else root.rstrip("/") for root in roots]
    places = [path for one in listing.containers for path in _places(one)]
    if unfolded is not None:
        # No link: links in sources are followed, but these files are the packer's own.
        places = [one for one in places if os.path.dirname(one) != unfolded or os.path.islink(one)]
    if not all(any(f"{place}/".startswith(f"{root}/") for root in roots) for place in places):
        return False
    if any(".." in path.split("/") for path in (*places, *(one.path for one in listing.groups))):
        return False
    return not pc.any(pc.match_substring_regex(listing.name, r"(^|/)\.\.(/|$)")).as_py()


def files_of(containers: Collection[Container]) -> list[str] | None:
    """The archives and tables that are containers; None where something is in an object store."""
    found = [path for one in containers for path in _places(one)]
    if any(map(is_object_url, found)):
        return None
    return [path for one in containers if not hasattr(one, "root") for path in _places(one)]


def _places(container: Container) -> list[str]:
    """The folder, address or files that a container is."""
    fields = vars(container)
    if "segments" in fields:
        return [one.path for one in fields["segments"] if one.path is not None]
    return [fields[name] for name in ("root", "url", "folded", "path") if fields.get(name)]


def _row(one: Rejected) -> tuple[str, ...]:
    return tuple(map(str, astuple(one)))


def _table(work: Work) -> pa.Table:
    listing, planned = work.listing, work.planned
    rows = pa.array(work.row)
    columns = {
        "key": planned.key,
        "class_index": pa.array(planned.class_index),
        "synset": planned.synset,
        "source": planned.source,
        "name": listing.name.take(rows),
    }
    for name in ("group", "size", "offset", "stored", "method", "crc"):
        columns[name] = pa.array(getattr(listing, name)[work.row])
    table = pa.table([columns[name].cast(kind) for name, kind in _COLUMNS], names=[name for name, _ in _COLUMNS])
    for name, values in planned.kept.items():
        table = table.append_column(_KEPT + name, values)
    return table


def _read(storage: Storage, name: str, sha256: object, columns: Collection[str] | None) -> tuple[pa.Table, pa.Schema]:
    """(its columns, the schema with all of them)."""
    found = hashlib.sha256()
    path = storage.local_path(name)
    if path is None:
        raw = storage.read(name)
        if raw is None:
            raise FileNotFoundError("it is missing")
        found.update(raw)
        source: Any = pa.BufferReader(raw)
    else:
        with storage.open(name) as stream:
            while piece := stream.read(1 << 20):
                found.update(piece)
        # Mapped where most of it is left alone. What is kept of a mapping is copied: another machine may remove it.
        source = pa.memory_map(path) if columns is None else pa.OSFile(path)
    if found.hexdigest() != sha256:
        raise ValueError("its sha256 is not the one that plan.json has")
    file = pa.ipc.open_file(source)
    if columns is None:
        return file.read_all(), file.schema
    numbers = [n for n, one in enumerate(file.schema.names) if one in columns]
    some = pa.ipc.open_file(source, options=pa.ipc.IpcReadOptions(included_fields=numbers))
    return some.read_all(), file.schema


def _some(shards: list[Shard], table: pa.Table, only: Collection[int]) -> tuple[list[Shard], pa.Table]:
    """Shards with their places in a table of the samples of some; the others are empty."""
    chosen = sorted(only)
    found = [Shard(one.path, one.generator, one.split, 0, 0) for one in shards]
    at = 0
    for number in chosen:
        one = shards[number]
        found[number] = Shard(one.path, one.generator, one.split, at, at + one.end - one.begin)
        at = found[number].end
    rows = [np.arange(shards[number].begin, shards[number].end) for number in chosen]
    return found, table.take(pa.array(np.concatenate([np.empty(0, np.int64), *rows])))


def _column(table: pa.Table, name: str, kind: pa.DataType | None = None) -> pa.Array:
    if name not in table.column_names:
        return pa.array([], kind)
    column = table[name]
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _plain(container: Container) -> tuple[str, dict[str, Any]]:
    kind = type(container).__name__
    assert kind in _KINDS
    return kind, {name: value for name, value in vars(container).items() if name != "listing"}


def _container(kind: str, values: dict[str, Any]) -> Container:
    if "segments" in values:
        values = {**values, "segments": tuple(Segment(*one) for one in values["segments"])}
    container: Container = getattr(import_module(_KINDS[kind]), kind)(**values)
    return container


class _Sink:
    """What pyarrow writes a file to."""

    closed = False

    def __init__(self, file: ShardFile) -> None:
        self._file, self._at = file, 0
        self.sha256 = hashlib.sha256()

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self.sha256.update(view)
        self._file.write([view])
        self._at += len(view)
        return len(view)

    def tell(self) -> int:
        return self._at

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def flush(self) -> None: ...

    def close(self) -> None: ...
