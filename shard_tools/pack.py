"""Packing from beginning to end: list, plan, carry out, gather."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from itertools import filterfalse
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genimage_stream.decode.crop_ready import DEFAULT_PNG_LEVEL
from genimage_stream.remedies import printable
from genimage_stream.schema import FORMAT_VERSION, INDEX_FILE, QUARANTINE_FILE
from shard_tools import state
from shard_tools.engines import local, ray
from shard_tools.errors import TargetError, ToolError
from shard_tools.gather import gather
from shard_tools.inspect import Check
from shard_tools.keys import assign_keys
from shard_tools.layout import Mapping
from shard_tools.lock import locked
from shard_tools.object_storage import is_object_url
from shard_tools.plan import Plan, Shard, make_plan
from shard_tools.readers import Readers
from shard_tools.scan import Listing, Rejected, scan
from shard_tools.shard import Item, ShardTask
from shard_tools.sources.base import Location
from shard_tools.storage import LocalStorage, Storage, explained, open_storage
from shard_tools.terminal.progress import Progress
from shard_tools.terminal.text import size_text

ENGINES = ("local", "ray")


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
    allow_missing_volumes: bool = False

    @property
    def level(self) -> int | None:
        """Of PNGs; None: nothing is recoded."""
        if not self.crop_ready:
            return None
        return DEFAULT_PNG_LEVEL if self.png_level is None else self.png_level

    def stored(self) -> dict[str, Any]:
        """The options that decide bytes; they stand in dataset.json."""
        return {
            "seed": self.seed,
            "shard_size": self.shard_bytes,
            "check": self.check,
            "crop_ready": self.crop_ready,
            **({"png_level": self.level} if self.crop_ready else {}),
            "generators": sorted(self.generators) if self.generators else None,
            "splits": sorted(self.splits) if self.splits else None,
        }


@dataclass
class PackSummary:
    destination: str
    state: str  # new, unfinished (resumed), finished (nothing was to be done), repaired (lost files were made again)
    samples: int
    quarantined: int
    droppings: int
    shards: int
    size_bytes: int
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class Work:
    """A plan with what it was made of."""

    listing: Listing
    plan: Plan
    planned: state.Planned
    row: Any  # (n,) int64: row of the listing, in shard order
    rejected: list[Rejected]


def plan_work(listing: Listing, options: PackOptions) -> Work:
    """Keys and plan for a listing."""
    readers = Readers(listing.containers)
    try:
        keys = assign_keys(listing, lambda row: readers.read(*_location(listing, row)))
    finally:
        readers.close()
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
    folders = pa.array(
        [printable(listing.containers[g.container].prefix + (g.path + "/" if g.path else "")) for g in listing.groups],
        pa.string(),
    ).take(in_order)
    source = pc.binary_join_element_wise(folders, listing.name.take(pa.array(row)), "")
    planned = state.Planned(
        key=keys.key.take(order),
        label=pa.array([g.label for g in listing.groups], pa.string()).take(in_order),
        class_index=listing.class_index[row],
        synset=listing.synset.take(pa.array(row)),
        source=source,
    )
    return Work(listing, plan, planned, row, [*listing.rejected, *keys.duplicates])


def _location(listing: Listing, row: int) -> tuple[int, Location]:
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


def shard_task(work: Work, number: int, check: Check, png_level: int | None = None) -> ShardTask:
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
    return ShardTask(number, shard.path, shard.generator, shard.split, items, check, png_level)


def pack(sources: Sequence[str], destination: str, options: PackOptions, progress: Progress) -> PackSummary:
    """Pack `sources` into `destination`, going on where an earlier run was interrupted. Raises ToolError."""
    if options.png_level is not None:
        if not options.crop_ready:
            raise ToolError(
                f"--png-level {options.png_level} is of crop-ready shards alone, and these store every file as it is: "
                "add --crop-ready or leave it out"
            )
        if not 0 <= options.png_level <= 9:
            raise ToolError(f"--png-level {options.png_level}: choose 0 (stored, largest) to 9 (smallest)")
    if options.engine not in ENGINES:
        raise ToolError(f"--engine {options.engine}: choose one of {', '.join(ENGINES)}")
    storage = open_storage(destination)
    _apart(sources, storage)
    listing = scan(
        sources,
        mappings=options.mappings,
        generators=options.generators,
        splits=options.splits,
        found=progress.found,
    )
    if not len(listing) and not listing.rejected:
        raise ToolError(f"{' '.join(sources)}: no image is left by --generators and --splits")
    if listing.incomplete and not options.allow_missing_volumes:
        raise ToolError(
            "; ".join(listing.incomplete) + ". To pack what is there and list the rest in quarantine, add "
            "--allow-missing-volumes"
        )
    for line in [*listing.incomplete, *listing.problems]:
        progress.say(f"warning: {line}")
    for line in listing.notes:
        progress.say(f"note: {line}")
    _can_unfold(listing, storage)
    work = plan_work(listing, options)
    if state.begin(storage, work.plan, len(listing)) == "finished" and not state.lost_files(storage):
        return _summary(storage, work, "finished")
    with locked(storage):
        found = state.begin(storage, work.plan, len(listing))
        lost = state.lost_files(storage) if found == "finished" else []
        if found != "finished" or lost:
            # Before anything else: what lies in the destination from now on belongs to this plan.
            state.write_json(storage, state.PLAN, _stored_plan(work))
            _unfold(work, storage)
        if lost:
            progress.say(f"{storage.shown(lost[0])} is missing or cut off ({len(lost)} such files): made again")
            _repair(work, options, storage, progress, lost)
            found = "repaired"
        elif found != "finished":
            _carry_out(work, options, storage, progress)
            gather(work, options, storage)
        _clean(storage)
    return _summary(storage, work, found)


def _stored_plan(work: Work) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "plan_digest": work.plan.digest,
        "options": work.plan.options,
        "planned_files": len(work.row),
        "planned_shards": len(work.plan.shards),
    }


def _can_unfold(listing: Listing, storage: Storage) -> None:
    for container in listing.containers:
        if getattr(container, "folded", None) and not isinstance(storage, LocalStorage):
            raise ToolError(
                f"{container.name}: Parquet, and tables in object stores, can only be packed to a local "
                "destination: give one"
            )


def _unfold(work: Work, storage: Storage) -> None:
    """Turn tables that have to be read from end to end into files that can be read in any order."""
    containers = work.listing.containers
    if not isinstance(storage, LocalStorage) or not any(getattr(container, "folded", None) for container in containers):
        return
    from shard_tools.sources.arrow import unfold_all

    with explained(storage.path(state.STATE)):
        unfold_all(containers, str(storage.path(f"{state.STATE}/unfolded")), work.plan.digest)


def _apart(sources: Sequence[str], storage: Storage) -> None:
    """The destination must not lie within a source: its shards would be found as files of the source next time."""
    if isinstance(storage, LocalStorage):
        there = os.path.realpath(storage.url)
        for source in filterfalse(is_object_url, sources):
            here = os.path.realpath(source)
            if os.path.commonpath([here, there]) == here:
                raise ToolError(f"{storage.url} lies within the source {source}: choose a destination outside of it")


def _repair(work: Work, options: PackOptions, storage: Storage, progress: Progress, lost: list[str]) -> None:
    """Make the lost files of a finished dataset again, to the same bytes."""
    if INDEX_FILE in lost or QUARANTINE_FILE in lost:  # what they say is only known by packing everything
        _carry_out(work, options, storage, progress)
        gather(work, options, storage)
        return
    _carry_out(work, options, storage, progress, [n for n, shard in enumerate(work.plan.shards) if shard.path in lost])
    still = state.lost_files(storage)
    if still:
        raise TargetError(
            f"{storage.shown(still[0])} was made again and is not what it was: the source has changed since it was "
            "packed; bring it back as it was, or remove the destination and pack anew"
        )


def _carry_out(
    work: Work, options: PackOptions, storage: Storage, progress: Progress, only: Collection[int] | None = None
) -> None:
    """Write all shards that are not finished yet; or `only` these, finished or not."""
    plan = work.plan
    for name in storage.files():
        if name.endswith(".part"):
            storage.remove(name)
    done = state.finished_shards(storage, plan) if only is None else set()
    pending = [number for number in range(len(plan.shards)) if (number not in done if only is None else number in only)]
    if done:
        progress.say(f"going on: {len(done)} of {len(plan.shards)} shards are finished")
    sizes = work.listing.size[work.row]
    todo = sum(plan.shards[n].end - plan.shards[n].begin for n in pending)
    todo_bytes = sum(int(sizes[plan.shards[n].begin : plan.shards[n].end].sum()) for n in pending)
    _warn_of_room(storage, todo_bytes, progress)
    tasks = (shard_task(work, number, options.check, options.level) for number in pending)
    if options.engine == "ray":
        run, workers = ray.run, options.workers
    else:
        run, workers = local.run, min(options.workers or local.cores(), max(1, len(pending)))
    progress.begin("packing", todo, todo_bytes)
    # What the end needs is loaded while the workers work.
    threading.Thread(target=import_module, args=("pyarrow.parquet",), daemon=True).start()
    try:
        with contextlib.closing(run(tasks, work.listing.containers, storage, workers, progress.advance)) as results:
            for result in results:
                if only is None:
                    state.save_result(storage, plan.shards[result.number], result, work.planned)
    finally:
        progress.end()


def _warn_of_room(storage: Storage, needed: int, progress: Progress) -> None:
    if isinstance(storage, LocalStorage):
        free = shutil.disk_usage(storage.url).free
        if needed > free:
            progress.say(
                f"warning: about {size_text(needed)} are to be written and {storage.url} has {size_text(free)} free"
            )


def _clean(storage: Storage) -> None:
    """The dataset is finished: what only served to get there can go."""
    for name in storage.files():
        if name.endswith(".part") or (name.startswith(state.STATE + "/") and name != state.LOCK):
            storage.remove(name)


def _summary(storage: Storage, work: Work, found: str) -> PackSummary:
    dataset = state.read_dataset(storage)
    assert dataset is not None
    counts = dataset["counts"]
    return PackSummary(
        storage.url,
        found,
        counts["samples"],
        counts["quarantined"],
        work.listing.droppings,
        counts["shards"],
        counts["size"],
        work.listing.problems,
        work.listing.notes,
    )


__all__ = ["PackOptions", "PackSummary", "Shard", "Work", "gather", "pack", "plan_work", "shard_task"]
