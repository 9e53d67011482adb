"""Packing from beginning to end: list, plan, carry out, gather."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from itertools import filterfalse
from pathlib import Path
from typing import Any

from genimage_stream.resources import cores
from genimage_stream.schema import (
    FORMAT_VERSION,
    INDEX_FILE,
    PACK_FOLDER,
    PLAN_FILE,
    QUARANTINE_FILE,
    idx_path,
)
from shard_tools import state
from shard_tools.addresses import is_object_url
from shard_tools.engines import local, ray
from shard_tools.errors import TargetError, ToolError
from shard_tools.gather import gather, lost_groups
from shard_tools.growth.compare import Task, compare
from shard_tools.growth.held import NEW, group_of, sweep
from shard_tools.growth.publish import finish_publishing, withdraw
from shard_tools.plan import GroupName
from shard_tools.scan import Listing, is_packed, scan
from shard_tools.shard import ShardResult
from shard_tools.sources.unfold import unfold_all
from shard_tools.target.local_storage import Storage, explained, is_unfinished, open_storage
from shard_tools.target.lock import LOCK, locked
from shard_tools.terminal.progress import Progress
from shard_tools.terminal.text import size_text
from shard_tools.work import PackOptions, Work, plan_work, shard_task

ENGINES = ("local", "ray")


@dataclass
class PackSummary:
    destination: str
    # new, unfinished (resumed), finished (nothing was to be done), repaired (lost files were made again), grown
    state: str
    samples: int
    quarantined: int
    system_files: int
    shards: int
    size_bytes: int
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)  # sentences about groups of which nothing was packed
    grown: list[str] = field(default_factory=list)  # "generator split" of groups that a finished dataset got or changed


def pack(sources: Sequence[str], destination: str, options: PackOptions, progress: Progress) -> PackSummary:
    """Pack `sources` into `destination`, going on where an earlier run was interrupted. Raises ToolError."""
    storage = open_destination(sources, destination, options)
    return pack_work(storage, plan_sources(sources, storage, options, progress), options, progress)


def open_destination(sources: Sequence[str], destination: str, options: PackOptions) -> Storage:
    """Where `sources` are packed to. Raises ToolError for options and places that do not fit."""
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
    apart(sources, storage)
    _in_order(sources, storage)
    return storage


def plan_sources(sources: Sequence[str], storage: Storage, options: PackOptions, progress: Progress) -> Work:
    """List the sources, and say what is to be done. Raises ToolError."""
    listing = scan(
        sources,
        mappings=options.mappings,
        generators=options.generators,
        splits=options.splits,
        columns=options.columns,
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
    return plan_work(listing, options)


def pack_work(storage: Storage, work: Work, options: PackOptions, progress: Progress) -> PackSummary:
    """Carry a plan out, going on where an earlier run was interrupted. Raises ToolError."""
    known = None
    if storage.size(PLAN_FILE) is None:
        if (task := compare(storage, work, options)).idle:
            remove_lock(storage)
            return _summary(storage, work, task)
        known = task.held
    begun = state.read_plan(storage) or {}
    if "list" in begun and state.read_dataset(storage) is None:
        raise TargetError(
            f"{storage.url} is being packed in parts: go on by --part and `shard-tools gather`, or choose another "
            "destination"
        )
    with locked(storage):
        finish_publishing(storage)
        task = compare(storage, work, options, known)
        if not task.idle:
            _begin(storage, work, task)
            if task.lost:
                progress.say(
                    f"{storage.shown(task.lost[0])} is missing or cut off ({len(task.lost)} such files): made again"
                )
                _repair(work, options, storage, progress, task)
            if task.held is None or task.todo:
                unfold(work, storage, task.todo)
                _carry_out(work, options, storage, progress, task)
            if task.held is None:
                gather(work, options, storage)
            elif task.todo or task.relisted:
                _make_room(storage, work, task)
                gather(work, options, storage, task.todo, task.held, task.kept)
            sweep(storage, task.todo | _groups(task.begun))
    return _summary(storage, work, task)


def remove_lock(storage: Storage) -> None:
    """Of a packer that was killed when nothing else was left to be done."""
    if storage.size(LOCK) is not None:
        with contextlib.suppress(TargetError), locked(storage):  # one that runs has it
            pass


def _begin(storage: Storage, work: Work, task: Task) -> None:
    """Before anything else: what lies in the destination from now on belongs to this plan."""
    plan = work.plan
    if task.begun is not None and task.begun.get("plan_digest") != plan.digest:
        for name in storage.files(PACK_FOLDER):  # of a growth that was given up
            if name not in (LOCK, PLAN_FILE):
                storage.remove(name)
    stored: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "plan_digest": plan.digest,
        "options": plan.options,
        "planned_files": len(work.row),
        "planned_shards": len(plan.shards),
    }
    if task.held is not None:
        stored["groups"] = sorted(task.todo | _groups(task.begun))
        stored["replaced"] = sorted(task.replaced)
    state.write_json(storage, PLAN_FILE, stored)


def _groups(begun: dict[str, Any] | None) -> set[GroupName]:
    """The groups whose shards an interrupted growth may have written."""
    return {(generator, split) for generator, split in (begun or {}).get("groups", [])}


def _make_room(storage: Storage, work: Work, task: Task) -> None:
    """Bring shards of groups that replace others to their places. Meanwhile the dataset is one without these groups, so
    that whoever opens it at any moment finds shards and index of one kind."""
    held = task.held
    assert held is not None
    if gone := task.replaced & set(held.plans):
        withdraw(held, gone)
    there = storage.files(NEW)
    for shard in work.plan.shards:
        if (shard.generator, shard.split) in task.replaced:
            for path in (idx_path(shard.path), shard.path):
                if f"{NEW}/{path}" in there:
                    storage.move(f"{NEW}/{path}", path)


def _can_unfold(listing: Listing, storage: Storage) -> None:
    for container in listing.containers:
        if container.sequential and storage.local_path() is None:
            raise ToolError(
                f"{container.name}: Parquet, compressed tars, and tables in object stores can only be packed to a "
                "local destination: give one"
            )


def unfold(work: Work, storage: Storage, todo: Collection[GroupName]) -> None:
    """Turn tables that have to be read from end to end into files that can be read in any order."""
    containers = work.listing.containers
    needed = {g.container for g in work.listing.groups if (g.generator, g.split) in todo}
    folder = storage.local_path(f"{PACK_FOLDER}/unfolded")
    if folder is None or not any(containers[number].sequential for number in needed):
        return
    with explained(Path(folder).parent):
        unfold_all(containers, folder, work.plan.digest, needed)


def apart(sources: Sequence[str], storage: Storage) -> None:
    """The destination must not lie within a source: its shards would be found as files of the source next time."""
    root = storage.local_path()
    if root is not None:
        there = os.path.realpath(root)
        for source in filterfalse(is_object_url, sources):
            here = os.path.realpath(source)
            if os.path.commonpath([here, there]) == here:
                raise ToolError(f"{storage.url} lies within the source {source}: choose a destination outside of it")


def _in_order(sources: Sequence[str], storage: Storage) -> None:
    """SRC and DST are easily swapped: a source that is a packed dataset, or is not there while DST is full of others'
    files."""
    root = storage.local_path()
    others = bool(root) and os.path.isdir(str(root)) and any(os.scandir(str(root))) and not state.is_ours(storage)
    swapped = f", and {storage.url} holds no dataset but other files: DST comes last, shard-tools pack SRC... DST"
    for source in filterfalse(is_object_url, sources):
        if is_packed(source):
            raise ToolError(
                f"{source} is a packed dataset" + (swapped if others else ": pack reads images, archives and tables")
            )
        if others and not os.path.exists(source):
            raise ToolError(f"{source} does not exist{swapped}")


def _repair(work: Work, options: PackOptions, storage: Storage, progress: Progress, task: Task) -> None:
    """Make the lost files of a finished dataset again, to the same bytes."""
    plan, lost = work.plan, task.lost
    groups = {one.name for one in plan.groups}
    if INDEX_FILE in lost or QUARANTINE_FILE in lost:  # what they say is only known by packing everything
        unfold(work, storage, groups)
        _carry_out(work, options, storage, progress, Task("finished", None, groups))
        gather(work, options, storage)
        return
    unfold(work, storage, {group_of(name) for name in lost})
    numbers = [n for n, shard in enumerate(plan.shards) if shard.path in lost and task.places(shard) == [shard.path]]
    write_shards(work, options, storage, progress, {number: plan.shards[number].path for number in numbers})
    still = [name for name in state.lost_files(storage) if group_of(name) not in task.replaced]
    if still:
        raise TargetError(
            f"{storage.shown(still[0])} was made again and is not what it was: the source has changed since it was "
            "packed; bring it back as it was, or remove the destination and pack anew"
        )


def _carry_out(work: Work, options: PackOptions, storage: Storage, progress: Progress, task: Task) -> None:
    """Write all shards of the task that are not finished yet."""
    for name in storage.files():
        if is_unfinished(name):
            storage.remove(name)
    shards = work.plan.shards
    places = {n: task.places(shard) for n, shard in enumerate(shards) if (shard.generator, shard.split) in task.todo}
    done = state.finished_shards(storage, shards, work.planned, places)
    if done:
        progress.say(f"going on: {len(done)} of {len(places)} shards are finished")
    pending = {number: paths[0] for number, paths in places.items() if number not in done}

    def keep(result: ShardResult) -> None:
        state.save_result(storage, shards[result.number], result, work.planned)

    # What the end needs is loaded while the workers work.
    threading.Thread(target=import_module, args=("pyarrow.parquet",)).start()
    write_shards(work, options, storage, progress, pending, keep)


def write_shards(
    work: Work,
    options: PackOptions,
    storage: Storage,
    progress: Progress,
    pending: dict[int, str],
    keep: Callable[[ShardResult], None] = lambda result: None,
) -> None:
    """Write shards of the plan to their places, and `keep` what the index will say of each."""
    plan = work.plan
    sizes = work.listing.size[work.row]
    todo = sum(plan.shards[n].end - plan.shards[n].begin for n in pending)
    todo_bytes = sum(int(sizes[plan.shards[n].begin : plan.shards[n].end].sum()) for n in pending)
    _warn_of_room(storage, todo_bytes, progress)
    tasks = (shard_task(work, number, options.check, options.level, path) for number, path in pending.items())
    if options.engine == "ray":
        run, workers = ray.run, options.workers
    else:
        run, workers = local.run, min(options.workers or cores(), max(1, len(pending)))
    progress.begin("packing", todo, todo_bytes)
    try:
        with contextlib.closing(run(tasks, work.listing.containers, storage, workers, progress.advance)) as results:
            for result in results:
                keep(result)
    finally:
        progress.end()


def _warn_of_room(storage: Storage, needed: int, progress: Progress) -> None:
    root = storage.local_path()
    if root is not None:
        free = shutil.disk_usage(root).free
        if needed > free:
            progress.say(
                f"warning: about {size_text(needed)} are to be written and {storage.url} has {size_text(free)} free"
            )


def _summary(storage: Storage, work: Work, task: Task) -> PackSummary:
    grown = sorted(map(" ".join, task.todo)) if task.held is not None else []
    repaired = "repaired" if task.lost else task.found
    return summary(storage, work.listing, "grown" if grown or task.relisted else repaired, grown)


def summary(storage: Storage, listing: Listing | None, how: str, grown: Sequence[str] = ()) -> PackSummary:
    """What is there now; `how` it came is the summary's `state`."""
    dataset = state.read_dataset(storage)
    assert dataset is not None
    counts = dataset.fields["counts"]
    return PackSummary(
        storage.url,
        how,
        counts["samples"],
        counts["quarantined"],
        listing.system_files if listing is not None else 0,
        counts["shards"],
        counts["size"],
        listing.problems if listing is not None else [],
        listing.notes if listing is not None else [],
        lost_groups(storage, dataset.fields),
        list(grown),
    )
