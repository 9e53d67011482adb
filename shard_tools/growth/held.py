"""What a finished dataset holds, group by group, for those who write it again with more groups or with fewer."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import pyarrow as pa

from genimage_stream.dataset.info import ShardEntry, WrittenFields
from genimage_stream.schema import (
    DATASET_FILE,
    INDEX_FILE,
    PACK_FOLDER,
    PLAN_FILE,
    idx_path,
    kept_column,
)
from shard_tools import state
from shard_tools.errors import TargetError
from shard_tools.growth.index import HeldIndex, read_bad
from shard_tools.plan import GroupName, GroupPlan
from shard_tools.target.local_storage import Storage, is_unfinished
from shard_tools.target.lock import LOCK

NEW = f"{PACK_FOLDER}/new"  # shards that wait here until those of the same names can go


class Rows(NamedTuple):
    """The rows of one shard, as they go into the index."""

    path: str
    size: int  # bytes of the shard
    table: pa.Table


@dataclass
class Held:
    """A finished dataset. `plans`: what each group was planned from."""

    storage: Storage
    fields: WrittenFields
    plans: dict[GroupName, GroupPlan]
    index_size: int | None

    @classmethod
    def read(cls, storage: Storage, known: Held | None = None) -> Held | None:
        """None where no dataset is finished; `known` where that is still the one. Raises TargetError for one that does
        not say what it was planned from."""
        info = state.read_dataset(storage)
        if info is None:
            return None
        try:
            plans = [GroupPlan(str(p["generator"]), str(p["split"]), int(p["files"]), p["digest"]) for p in info.plans]
        except (KeyError, TypeError, ValueError):
            raise TargetError(
                f"{storage.shown(DATASET_FILE)} does not say what its groups were planned from, so an earlier version "
                "wrote it: pack anew to another destination"
            ) from None
        if known is not None and known.fields == info.fields and known.index_size == storage.size(INDEX_FILE):
            return known
        return cls(storage, info.fields, {plan.name: plan for plan in plans}, storage.size(INDEX_FILE))

    @cached_property
    def index(self) -> HeldIndex:
        return HeldIndex(self.storage, self.fields)

    @cached_property
    def quarantine(self) -> list[dict[str, Any]]:
        return read_bad(self.storage)

    def kept_with(self, others: Mapping[str, pa.DataType]) -> dict[str, pa.DataType]:
        """Types of the columns of --keep of this dataset and of what comes to it; a column without values has any.

        Raises TargetError where they do not fit.
        """
        prefix = kept_column("")
        types = {f.name.removeprefix(prefix): f.type for f in self.index.schema if f.name.startswith(prefix)}
        for name, kind in others.items():
            if name in types and types[name] != kind and not (pa.types.is_null(kind) or pa.types.is_null(types[name])):
                raise TargetError(
                    f"{self.storage.url} has {types[name]} in the column {kept_column(name)}, and the sources have "
                    f"{kind}: pack all of them anew to another destination"
                )
            if pa.types.is_null(types.get(name, pa.null())):
                types[name] = kind
        return types

    def entries(self, groups: Collection[GroupName]) -> Iterator[tuple[GroupName, ShardEntry, int]]:
        """(group, shard, its first row of the index) of the shards of some groups."""
        at = 0
        for entry in self.fields["shards"]:
            name = group_of(entry["path"])
            if name in groups:
                yield name, entry, at
            at += entry["samples"]

    def rows(self, group: GroupName) -> Iterator[Rows]:
        """The rows of the index of a group's shards."""
        for _, entry, at in self.entries([group]):
            table = self.index.rows(at, entry["samples"])
            if any(chunk.unique().to_pylist() != [entry["path"]] for chunk in table["shard"].chunks if len(chunk)):
                raise TargetError(
                    f"{self.storage.shown(INDEX_FILE)} and {DATASET_FILE} differ about {entry['path']}: restore both "
                    "from one copy"
                )
            yield Rows(entry["path"], entry["size"], table)

    @cached_property
    def sources(self) -> pa.ChunkedArray:
        """The column `source` of the whole index."""
        return self.index.column("source")

    def column(self, name: str, groups: Collection[GroupName]) -> pa.ChunkedArray:
        """A column of text of the index, of some groups."""
        whole = self.sources if name == "source" else self.index.column(name)
        parts = [whole.slice(at, entry["samples"]) for _, entry, at in self.entries(groups)]
        return pa.chunked_array([chunk for part in parts for chunk in part.chunks], pa.string())


def group_of(shard: str) -> GroupName:
    """The (generator, split) of a shard's path."""
    generator, split, _ = shard.split("/")
    return generator, split


def sweep(storage: Storage, groups: Collection[GroupName]) -> None:
    """Remove the shards of some groups that the dataset does not hold (any more), and all that served to write it."""
    info = state.read_dataset(storage)
    assert info is not None
    held = {entry["path"] for entry in info.fields["shards"]}
    held |= set(map(idx_path, held))
    names = [re.escape(f"{generator}/{split}/{generator}-{split}-") for generator, split in groups]
    shards = re.compile(f"(?:{'|'.join(names)})[0-9]{{5,}}\\.(?:tar|idx)") if names else None
    rest = []
    for name in storage.files():
        if name.startswith(PACK_FOLDER + "/") and name != LOCK:
            rest.append(name)
        elif is_unfinished(name) or (name not in held and shards is not None and shards.fullmatch(name)):
            storage.remove(name)
    for name in (f"{generator}/{split}" for generator, split in groups):
        folder = storage.local_path(name)
        with contextlib.suppress(OSError):  # it is not empty, as a rule
            if folder is not None:
                os.rmdir(folder)
                os.rmdir(os.path.dirname(folder))
    # The plan last: while it is there, it is known that something is left to be done.
    for name in sorted(rest, key=PLAN_FILE.__eq__):
        storage.remove(name)
    # Of a part that wrote meanwhile. Later ones find no plan after having written, and remove it themselves.
    for name in storage.files(state.RESULTS):
        storage.remove(name)
    remove_folders(storage)


def remove_folders(storage: Storage) -> None:
    """Remove `.pack/` where nothing is in it any more."""
    for name in (state.RESULTS, f"{PACK_FOLDER}/unfolded", PACK_FOLDER):
        folder = storage.local_path(name)
        with contextlib.suppress(OSError):  # it is not empty, or not there
            if folder is not None:
                os.rmdir(folder)
