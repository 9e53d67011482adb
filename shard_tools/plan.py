"""Which sample goes to which shard, at which place: a pure function of keys, sizes, seed and shard size.

Where a file was found, the order in which a disk lists it, the number of workers and the machine have no part in it.
Every listed file has its place, also one that later turns out to be broken: its place is then left out, so nothing has
to be read to plan, and one broken file changes nothing about its neighbours.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from genimage_stream.schema import FORMAT_VERSION, shard_path
from shard_tools.tar import END, sample_bytes


@dataclass(frozen=True)
class Shard:
    """Samples `begin` to `end` of the plan's order make up one shard."""

    path: str
    generator: str
    split: str
    begin: int
    end: int


GroupName = tuple[str, str]  # generator, split


@dataclass(frozen=True)
class GroupPlan:
    """What one group was planned from. Groups do not depend on each other, which is what lets a dataset grow.

    `files`: also those that turn out to be broken. `digest`: sha256 over everything that decides the bytes of the
    group's shards, as far as it is known before reading, but for the options.
    """

    generator: str
    split: str
    files: int
    digest: str

    @property
    def name(self) -> GroupName:
        return self.generator, self.split


@dataclass
class Plan:
    """`order[i]` is the row (of the keys that were given) of the i-th sample of the dataset."""

    order: npt.NDArray[np.int64]
    shards: list[Shard]
    groups: list[GroupPlan]
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        return plan_digest(self.options, self.groups)


def make_plan(
    key: pa.StringArray,
    size: npt.NDArray[np.int64],
    group: npt.NDArray[np.int32],
    group_names: list[tuple[str, str]],
    *,
    seed: int,
    shard_bytes: int,
    options: Mapping[str, Any] | None = None,
) -> Plan:
    """Plan samples of `key` (sorted), `size` (bytes) and `group` (number of their (generator, split) in `group_names`).

    Each group is shuffled as a whole by Philox4x64 keyed with the seed and the group's name, so reals, fakes and
    classes mix in every shard, and is cut into shards of nearly equal size that do not exceed `shard_bytes` (unless
    one sample does).
    """
    cost = sample_bytes(size)
    by_group = np.argsort(group, kind="stable")
    counts = np.bincount(group, minlength=len(group_names))
    starts = np.concatenate([[0], np.cumsum(counts)])
    order = np.empty(len(size), np.int64)
    shards: list[Shard] = []
    at = 0
    for number in sorted(range(len(group_names)), key=group_names.__getitem__):
        rows = by_group[starts[number] : starts[number + 1]]
        if not len(rows):
            continue
        generator, split = group_names[number]
        rows = rows[_permutation(len(rows), f"{seed}/{generator}/{split}")]
        order[at : at + len(rows)] = rows
        borders = _borders(cost[rows], max(1, shard_bytes - len(END)))
        shards += [
            Shard(shard_path(generator, split, i), generator, split, at + int(borders[i]), at + int(borders[i + 1]))
            for i in range(len(borders) - 1)
        ]
        at += len(rows)
    return Plan(order, shards, _group_plans(order, shards, key, size), dict(options or {}))


def plan_digest(options: Mapping[str, Any], groups: Iterable[GroupPlan]) -> str:
    """sha256 that identifies a dataset with these options and groups, in whatever order it came by them."""
    parts = sorted((one.generator, one.split, one.files, one.digest) for one in groups)
    head = {"format_version": FORMAT_VERSION, "options": options, "groups": parts}
    return hashlib.sha256(json.dumps(head, sort_keys=True).encode()).hexdigest()


def _permutation(n: int, name: str) -> npt.NDArray[np.int64]:
    # Sorting raw Philox words gives the same permutation with every version of NumPy; Generator.permutation may not.
    words = np.frombuffer(hashlib.blake2b(name.encode(), digest_size=16).digest(), dtype="<u8")
    raw = np.random.Philox(key=words).random_raw(n)
    return np.argsort(raw, kind="stable").astype(np.int64)


def _borders(cost: npt.NDArray[np.int64], limit: int) -> list[int]:
    """Cut a row of samples into the fewest runs of at most `limit` bytes, and these into nearly equal ones."""
    total = np.concatenate([[0], np.cumsum(cost)])
    fewest = _fill(total, limit)
    borders = [0]
    for left in range(len(fewest) - 1, 0, -1):
        begin = borders[-1]
        target = total[begin] + (total[-1] - total[begin]) / left
        end = int(np.searchsorted(total, target))
        if end - 1 > begin and total[end] - target > target - total[end - 1]:
            end -= 1
        borders.append(min(max(end, begin + 1), len(cost)))
    runs = np.diff(total[borders])
    # Equal runs can only be too long where single samples are nearly as large as a shard.
    return borders if len(set(borders)) == len(fewest) and runs.max() <= limit else fewest


def _fill(total: npt.NDArray[np.int64], limit: int) -> list[int]:
    borders = [0]
    while borders[-1] < len(total) - 1:
        begin = borders[-1]
        end = int(np.searchsorted(total, total[begin] + limit, side="right")) - 1
        borders.append(max(end, begin + 1))
    return borders


def _group_plans(
    order: npt.NDArray[np.int64], shards: list[Shard], key: pa.StringArray, size: npt.NDArray[np.int64]
) -> list[GroupPlan]:
    sums: dict[GroupName, Any] = {}
    files: Counter[GroupName] = Counter()
    ordered_sizes = np.ascontiguousarray(size[order], dtype="<i8")
    lengths = pc.binary_length(key).to_numpy()[order].astype("<i4")
    for shard in shards:
        name = shard.generator, shard.split
        files[name] += shard.end - shard.begin
        sha = sums.setdefault(name, hashlib.sha256())
        sha.update(f"\n{shard.path} {shard.end - shard.begin}\n".encode())
        rows = pa.array(order[shard.begin : shard.end])
        sha.update("\n".join(key.take(rows).to_pylist()).encode())
        sha.update(lengths[shard.begin : shard.end].tobytes())
        sha.update(ordered_sizes[shard.begin : shard.end].tobytes())
    return [GroupPlan(*name, files[name], sha.hexdigest()) for name, sha in sums.items()]
