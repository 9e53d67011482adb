"""What packing has to do: its options, the plan for a listing of the sources, and the task of each shard."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from genimage_stream.decode import ImageFacts
from genimage_stream.decode.crop_ready import DEFAULT_PNG_LEVEL
from shard_tools import state
from shard_tools.inspect import Check
from shard_tools.keys import Keys, assign_keys
from shard_tools.layout.columns import NO_COLUMNS, Columns
from shard_tools.layout.mapping import Mapping
from shard_tools.naming import source_names, without_sources
from shard_tools.plan import Plan, make_plan
from shard_tools.readers import Readers
from shard_tools.scan import Listing, Rejected
from shard_tools.shard import Item, Known, ShardTask
from shard_tools.sources.base import Location


@dataclass(frozen=True)
class PackOptions:
    shard_bytes: int = 256_000_000
    seed: int = 0
    workers: int = 0  # 0: one per core
    check: Check = "full"
    crop_ready: bool = False
    png_level: int | None = None  # of crop-ready PNGs; None: the default
    engine: str = "local"
    generators: tuple[str, ...] | None = None
    splits: tuple[str, ...] | None = None
    mappings: tuple[Mapping, ...] = ()
    columns: Columns = NO_COLUMNS
    allow_missing_volumes: bool = False
    add: bool = False  # the sources are beside those that the dataset was packed from
    license: str | None = None  # of the images

    @property
    def level(self) -> int | None:
        """Of PNGs; None: nothing is recoded."""
        if not self.crop_ready:
            return None
        return DEFAULT_PNG_LEVEL if self.png_level is None else self.png_level

    def stored(self) -> dict[str, Any]:
        """The options that decide bytes; they are stored in dataset.json."""
        return {
            "seed": self.seed,
            "shard_size": self.shard_bytes,
            "check": self.check,
            "crop_ready": self.crop_ready,
            **({"png_level": self.level} if self.crop_ready else {}),
            **({"keep": sorted(self.columns.keep)} if self.columns.keep else {}),
        }


@dataclass
class Work:
    """A plan with what it was made of."""

    listing: Listing
    plan: Plan
    planned: state.Planned
    row: Any  # (n,) int64: row of the listing, in shard order
    rejected: list[Rejected]
    packed: pa.Table | None = None  # the rows of an index that has the samples already, in shard order


def plan_work(listing: Listing, options: PackOptions) -> Work:
    """Keys and plan for a listing."""
    readers = Readers(listing.containers)
    try:
        keys = assign_keys(listing, lambda row: readers.read(*location(listing, row)))
    finally:
        readers.close()
    work = _planned(listing, keys, source_names(listing), options)
    rejected = without_sources(listing, [*listing.rejected, *keys.duplicates])
    return replace(work, rejected=rejected)


def plan_packed(listing: Listing, rows: pa.Table, options: PackOptions) -> Work:
    """The plan of samples that are in shards already: `rows` of an index, sorted by key, are those of the listing."""
    keys = Keys(np.arange(len(rows)), rows["key"].combine_chunks(), [])
    work = _planned(listing, keys, rows["source"].combine_chunks(), options)
    return replace(work, packed=rows.take(pa.array(work.row)))


def _planned(listing: Listing, keys: Keys, source: pa.StringArray, options: PackOptions) -> Work:
    names = sorted({(g.generator, g.split) for g in listing.groups})
    number = {name: i for i, name in enumerate(names)}
    of_group = np.array([number[g.generator, g.split] for g in listing.groups], np.int32)
    group = listing.group[keys.row]
    plan = make_plan(
        keys.key,
        listing.size[keys.row],
        of_group[group] if len(group) else np.empty(0, np.int32),
        names,
        seed=options.seed,
        shard_bytes=options.shard_bytes,
        options=options.stored(),
    )
    row = keys.row[plan.order]
    order = pa.array(plan.order)
    in_order = pa.array(listing.group[row])
    planned = state.Planned(
        key=keys.key.take(order),
        label=pa.array([g.label for g in listing.groups], pa.string()).take(in_order),
        class_index=listing.class_index[row],
        synset=listing.synset.take(pa.array(row)),
        source=source.take(pa.array(row)),
        kept={name: values.take(pa.array(row)) for name, values in listing.kept.items()},
    )
    return Work(listing, plan, planned, row, [])


def location(listing: Listing, row: int) -> tuple[int, Location]:
    """(container, place in it) of a row of the listing."""
    group = listing.groups[listing.group[row]]
    name = listing.name[row].as_py()
    return group.container, Location(
        f"{group.path}/{name}" if group.path else name,
        int(listing.size[row]),
        int(listing.offset[row]),
        int(listing.stored[row]),
        int(listing.method[row]),
        int(listing.crc[row]),
    )


def shard_task(
    work: Work, number: int, check: Check, png_level: int | None = None, path: str | None = None
) -> ShardTask:
    """The task of a shard of the plan, which is written to `path`; None: to its final one."""
    listing, shard = work.listing, work.plan.shards[number]
    part = slice(shard.begin, shard.end)
    rows = work.row[part]
    groups = [listing.groups[g] for g in listing.group[rows].tolist()]
    names = listing.name.take(pa.array(rows)).to_pylist()
    columns = zip(
        work.planned.key[part].to_pylist(),
        work.planned.class_index[part].tolist(),
        work.planned.synset[part].to_pylist(),
        groups,
        names,
        listing.size[rows].tolist(),
        listing.offset[rows].tolist(),
        listing.stored[rows].tolist(),
        listing.method[rows].tolist(),
        listing.crc[rows].tolist(),
        strict=True,
    )
    items = [
        Item(key, g.label, class_index, synset, g.container, Location(f"{g.path}/{name}" if g.path else name, *where))
        for key, class_index, synset, g, name, *where in columns
    ]
    if work.packed is not None:
        known = map(_known, work.packed.slice(shard.begin, shard.end - shard.begin).to_pylist())
        items = [item._replace(known=facts) for item, facts in zip(items, known, strict=True)]
    return ShardTask(number, path or shard.path, shard.generator, shard.split, items, check, png_level)


def _known(row: dict[str, Any]) -> Known:
    facts = ImageFacts(
        row["format"],
        row["mode"],
        row["width"],
        row["height"],
        8,
        row["jpeg_quality"],
        row["progressive"],
        row.get("chroma"),
    )
    return Known(facts, row["sha256"], row.get("stored_sha256"), row.get("pixel_sha256"), row.get("segments"))
