"""Files that a dataset holds and that come under another name now: a `--map` was forgotten, as a rule."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genimage_stream.dataset.numbers import to_numpy
from genimage_stream.vocabulary import REAL
from shard_tools.errors import TargetError
from shard_tools.growth.held import Held
from shard_tools.layout.mapping import components
from shard_tools.plan import GroupName
from shard_tools.readers import Readers
from shard_tools.work import PackOptions, Work, location

_READ = 8  # files that are compared byte for byte

Name = tuple[str | None, str | None, str | None]  # generator, split, label


@dataclass(frozen=True)
class _Found:
    source: str
    before: Name
    now: Name


def refuse_other_names(held: Held, work: Work, options: PackOptions, added: Collection[GroupName]) -> None:
    """Raises TargetError when files of new groups, or files that nothing is known of now, are in the dataset already.

    Reals that are reals still are left alone: several generators may have the same photographs.
    """
    found = _planned(held, work, options, added) if added else []
    if not found and not options.add:
        found = _unknown(held, work)
    if not found:
        return
    first = found[0]
    now = " ".join(filter(None, first.now)) if first.now[0] and first.now[2] else "not understood"
    raise TargetError(
        f"{held.storage.url} holds {len(found):,} of these files under another name: {first.source} is "
        f"{' '.join(filter(None, first.before))} there and {now} here. Give the --map, --columns and --labels that it "
        f"was packed with ({_map(found)}), or remove them first by `shard-tools drop {held.storage.url} --generators "
        f"{first.before[0]}`"
    )


def _planned(held: Held, work: Work, options: PackOptions, added: Collection[GroupName]) -> list[_Found]:
    shards = [shard for shard in work.plan.shards if (shard.generator, shard.split) in added]
    places = np.concatenate([np.arange(shard.begin, shard.end) for shard in shards])
    generators = [shard.generator for shard in shards for _ in range(shard.begin, shard.end)]
    splits = [shard.split for shard in shards for _ in range(shard.begin, shard.end)]
    sources = work.planned.source.take(pa.array(places))
    labels = work.planned.label.take(pa.array(places)).to_pylist()
    same = _same_sources(held, sources)
    sizes = work.listing.size[work.row[places]]
    candidates: list[tuple[int, str]] = []  # of these the places, and the hash that the dataset says
    found: list[_Found] = []
    for at, row in same:
        changed = labels[at] != REAL or row["label"] != REAL
        if changed and (options.crop_ready or row["size"] == sizes[at]):
            candidates.append((int(places[at]), row["sha256"]))
            found.append(_found(row, (generators[at], splits[at], labels[at])))
    return found if _is_one_the_same(work, candidates) else []


def _same_sources(held: Held, sources: pa.Array) -> list[tuple[int, dict[str, Any]]]:
    """(place in `sources`, row of the index) of paths that the index has."""
    hits = to_numpy(pc.is_in(held.sources, value_set=sources))
    rows = np.flatnonzero(hits)
    if not len(rows):
        return []
    names = ["source", "generator", "split", "label", "size", "sha256"]
    table = held.index.table(names).take(pa.array(rows))
    places = pc.index_in(table["source"].combine_chunks(), value_set=sources).to_pylist()
    return sorted(zip(places, table.to_pylist(), strict=True), key=lambda one: one[0])


def _is_one_the_same(work: Work, candidates: list[tuple[int, str]]) -> bool:
    """Whether one of a few of them has the bytes that the dataset says; what can only be read in order counts."""
    readers = Readers(work.listing.containers)
    try:
        for place, digest in candidates[:: max(1, len(candidates) // _READ)][:_READ]:
            container, where = location(work.listing, int(work.row[place]))
            if work.listing.containers[container].sequential:
                return True
            try:
                data = readers.read(container, where)
            except OSError:
                continue
            if hashlib.sha256(data).hexdigest() == digest:
                return True
    finally:
        readers.close()
    return False


def _unknown(held: Held, work: Work) -> list[_Found]:
    lost = [one for one in work.rejected if one.generator is None or one.label is None]
    if not lost:
        return []
    same = _same_sources(held, pa.array([one.source for one in lost], pa.string()))
    return [_found(row, (lost[at].generator, lost[at].split, lost[at].label)) for at, row in same]


def _found(row: dict[str, Any], now: Name) -> _Found:
    return _Found(row["source"], (row["generator"], row["split"], row["label"]), now)


def _map(found: list[_Found]) -> str:
    """The map that gives files their names again which changed as the first one did."""
    alike = [one for one in found if (one.before[0], one.now[0]) == (found[0].before[0], found[0].now[0])]
    folders = [components(one.source)[:-1] for one in alike]
    low, high = min(folders), max(folders)
    shared = 0
    while shared < min(len(low), len(high)) and low[shared] == high[shared]:
        shared += 1
    words = []
    for part in range(3):
        before = {one.before[part] for one in alike}
        differs = any(one.before[part] != one.now[part] for one in alike)
        words.append((before.pop() or "") if differs and len(before) == 1 else "")
    return f"e.g. --map {shlex.quote('/'.join(low[:shared]) or '.')}={':'.join(words)}"
