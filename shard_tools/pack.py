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
from pathlib import Path
from typing import Any

from genimage_stream.resources import cores
from genimage_stream.schema import DATASET_FILE, FORMAT_VERSION, INDEX_FILE, PACK_FOLDER, PLAN_FILE, QUARANTINE_FILE
from shard_tools import state
from shard_tools.addresses import is_object_url
from shard_tools.engines import local, ray
from shard_tools.errors import TargetError, ToolError
from shard_tools.gather import gather, lost_groups
from shard_tools.scan import Listing, scan
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
    state: str  # new, unfinished (resumed), finished (nothing was to be done), repaired (lost files were made again)
    samples: int
    quarantined: int
    system_files: int
    shards: int
    size_bytes: int
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)  # sentences about groups of which nothing was packed


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
    _in_order(sources, storage)
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
    work = plan_work(listing, options)
    if state.begin(storage, work.plan, len(listing)) == "finished" and not state.lost_files(storage):
        return _summary(storage, work, "finished")
    with locked(storage):
        found = state.begin(storage, work.plan, len(listing))
        lost = state.lost_files(storage) if found == "finished" else []
        if found != "finished" or lost:
            # Before anything else: what lies in the destination from now on belongs to this plan.
            state.write_json(storage, PLAN_FILE, _stored_plan(work))
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
        if container.sequential and storage.local_path() is None:
            raise ToolError(
                f"{container.name}: Parquet, compressed tars, and tables in object stores can only be packed to a "
                "local destination: give one"
            )


def _unfold(work: Work, storage: Storage) -> None:
    """Turn tables that have to be read from end to end into files that can be read in any order."""
    containers = work.listing.containers
    folder = storage.local_path(f"{PACK_FOLDER}/unfolded")
    if folder is None or not any(container.sequential for container in containers):
        return
    with explained(Path(folder).parent):
        unfold_all(containers, folder, work.plan.digest)


def _apart(sources: Sequence[str], storage: Storage) -> None:
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
        if all(os.path.isfile(os.path.join(source, name)) for name in (DATASET_FILE, INDEX_FILE)):
            raise ToolError(
                f"{source} is a packed dataset" + (swapped if others else ": pack reads images, archives and tables")
            )
        if others and not os.path.exists(source):
            raise ToolError(f"{source} does not exist{swapped}")


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
        if is_unfinished(name):
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
        run, workers = local.run, min(options.workers or cores(), max(1, len(pending)))
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
    root = storage.local_path()
    if root is not None:
        free = shutil.disk_usage(root).free
        if needed > free:
            progress.say(
                f"warning: about {size_text(needed)} are to be written and {storage.url} has {size_text(free)} free"
            )


def _clean(storage: Storage) -> None:
    """The dataset is finished: what only served to get there can go."""
    for name in storage.files():
        if is_unfinished(name) or (name.startswith(PACK_FOLDER + "/") and name != LOCK):
            storage.remove(name)


def _summary(storage: Storage, work: Work, found: str) -> PackSummary:
    dataset = state.read_dataset(storage)
    assert dataset is not None
    counts = dataset.fields["counts"]
    return PackSummary(
        storage.url,
        found,
        counts["samples"],
        counts["quarantined"],
        work.listing.system_files,
        counts["shards"],
        counts["size"],
        work.listing.problems,
        work.listing.notes,
        lost_groups(dataset.fields),
    )
