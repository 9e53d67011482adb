"""A part of a dataset, and the end when all parts are done.

A part writes the shards of the plan that are its own, with a result for each, as `pack` does; `gather` is the last step
of `pack`. So a part may die, come twice or late: a shard is the same from every process, and one that has its result is
not written again. When a dataset is finished, nothing says that there were parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from genimage_stream.schema import PACK_FOLDER
from shard_tools import state
from shard_tools.errors import TargetError, ToolError
from shard_tools.gather import gather
from shard_tools.growth.held import remove_folders, sweep
from shard_tools.pack import PackSummary, open_destination, remove_lock, summary, write_shards
from shard_tools.packing import stored
from shard_tools.packing.numbers import Part, ranges
from shard_tools.packing.planner import Begun, is_finished, planned, read_begun, work_of
from shard_tools.shard import ShardResult
from shard_tools.target.local_storage import Storage, open_storage
from shard_tools.terminal.progress import Progress
from shard_tools.work import PackOptions

COUNT_FILE = f"{PACK_FOLDER}/parts.json"


@dataclass
class PartSummary:
    """`state`: packed; done (by an earlier run); finished (the whole dataset is). `shards`, `samples`, `quarantined`:
    of this part; 0 where it was done."""

    destination: str
    state: str
    part: int
    parts: int
    shards: int = 0
    samples: int = 0
    quarantined: int = 0


@dataclass
class PlanSummary:
    """`state`: planned, unfinished (by another process) or finished."""

    destination: str
    state: str
    files: int = 0
    shards: int = 0


class MissingPartsError(Exception):
    """Parts that are not done."""

    def __init__(self, message: str, parts: int | None, missing: list[int]) -> None:
        super().__init__(message)
        self.parts, self.missing = parts, missing


class _LateError(TargetError):
    """The plan went away while a part worked."""


def plan_parts(sources: Sequence[str], destination: str, options: PackOptions, progress: Progress) -> PlanSummary:
    """Plan a dataset that is to be packed in parts. Raises ToolError."""
    storage = open_destination(sources, destination, options)
    begun, made = planned(sources, storage, options, progress)
    if not begun:
        return PlanSummary(storage.url, "finished")
    if not made:
        work_of(begun, sources, storage, options, progress, ())
    how = "planned" if made else "unfinished"
    return PlanSummary(storage.url, how, begun["planned_files"], begun["planned_shards"])


def pack_part(
    sources: Sequence[str], destination: str, options: PackOptions, part: Part, progress: Progress
) -> PartSummary:
    """Write the shards of one part that are not there yet, after a plan if there is none. Raises ToolError, also for
    another number of parts, other options or files than the plan's."""
    storage = open_destination(sources, destination, options)
    for last in (False, True):
        try:
            begun, _ = planned(sources, storage, options, progress)
            if not begun:
                break
            return _write(begun, sources, storage, options, part, progress)
        except _LateError:
            # The dataset is finished; or the plan was replaced, because a store did not refuse the second of two that
            # were published at the same moment.
            if last or not state.is_ours(storage):
                raise
        except ToolError:
            if state.read_dataset(storage) is None or not is_finished(storage, options):
                raise
    return PartSummary(storage.url, "finished", part.number, part.count)


def _write(
    begun: Begun, sources: Sequence[str], storage: Storage, options: PackOptions, part: Part, progress: Progress
) -> PartSummary:
    numbers = part.shards(begun["planned_shards"])
    work = work_of(begun, sources, storage, options, progress, numbers)
    if not storage.write_new(COUNT_FILE, state.json_bytes({"parts": part.count})):
        count = _count(storage)
        if count not in (None, part.count):
            raise TargetError(
                f"{storage.url} is being packed in {count} parts, not {part.count}: give --part I/{count}, or choose "
                "another destination"
            )
    shards = work.plan.shards
    done = state.finished_shards(storage, shards, work.planned, {number: [shards[number].path] for number in numbers})
    found = PartSummary(storage.url, "packed", part.number, part.count)
    pending = {number: shards[number].path for number in numbers if number not in done}
    if not pending:
        found.state = "done"
        return found
    if done:
        progress.say(f"going on: {len(done)} of {len(numbers)} shards of part {part} are finished")

    def keep(result: ShardResult) -> None:
        _still(begun, storage)
        state.save_result(storage, shards[result.number], result, work.planned)
        try:
            _still(begun, storage)
        except _LateError:
            storage.remove(state.result_name(result.number))
            remove_folders(storage)
            raise
        found.shards += 1
        found.samples += len(result.packed)
        found.quarantined += len(result.quarantined)

    write_shards(work, options, storage, progress, pending, keep)
    return found


def _still(begun: Begun, storage: Storage) -> None:
    """Raises _LateError where the destination is not (any more) of this plan."""
    if (state.read_plan(storage) or {}).get("list") != begun["list"]:
        raise _LateError(f"{storage.url} was removed or planned anew meanwhile: run the same command again")


def _count(storage: Storage) -> int | None:
    """The number of parts; None where no part has begun."""
    count = (state.read_json(storage, COUNT_FILE) or {}).get("parts")
    if count is not None and (type(count) is not int or count < 1):
        raise TargetError(f"{storage.shown(COUNT_FILE)} is damaged: remove that file and run the part again")
    return count


def gather_parts(destination: str) -> PackSummary:
    """Make a dataset of parts that are all done. Raises MissingPartsError where some are not, ToolError where there are
    none."""
    storage = open_storage(destination)
    begun = read_begun(storage)
    if state.read_dataset(storage) is not None:
        if begun is not None and "list" not in begun:
            raise TargetError(f"{storage.url} is growing: run that `shard-tools pack` again to finish it")
        sweep(storage, ())
        remove_lock(storage)
    elif begun is None:
        raise TargetError(
            f"{storage.url} holds nothing that was packed in parts: begin by `shard-tools pack SRC DST --part I/N`"
        )
    elif "list" not in begun:
        raise TargetError(
            f"{storage.url} holds an unfinished dataset that was not begun in parts: run that `shard-tools pack` again"
        )
    else:
        try:
            return _gather(begun, storage)
        except (ToolError, MissingPartsError):
            if state.read_dataset(storage) is None:  # otherwise another process has gathered meanwhile
                raise
    return summary(storage, None, "finished")


def _gather(begun: Begun, storage: Storage) -> PackSummary:
    work = stored.load(storage, begun, columns=("source", "group"))
    shards = work.plan.shards
    done = state.finished_shards(storage, shards, work.planned, {n: [one.path] for n, one in enumerate(shards)})
    if len(done) < len(shards):
        count = _count(storage)
        lacking = [number for number in range(len(shards)) if number not in done]
        raise MissingPartsError(*_missing(storage, lacking, count, len(shards)))
    gather(work, PackOptions(license=begun.get("license")), storage, anew=True)
    sweep(storage, {one.name for one in work.plan.groups})
    remove_lock(storage)
    return summary(storage, work.listing, "new")


def _missing(
    storage: Storage, lacking: list[int], count: int | None, planned: int
) -> tuple[str, int | None, list[int]]:
    if count is None:
        message = (
            f"{storage.url} is planned and no part has begun: run `shard-tools pack SRC DST --part I/N` for each I"
        )
        return message, None, []
    missing = sorted({number % count + 1 for number in lacking})
    are = f"parts {ranges(missing)} of {count} are" if len(missing) > 1 else f"part {missing[0]} of {count} is"
    message = (
        f"{storage.url}: {are} not done ({len(lacking):,} of {planned:,} shards are missing); run "
        f"`shard-tools pack SRC DST --part {missing[0]}/{count}`{' and the others' * (len(missing) > 1)}, then gather "
        "again"
    )
    return message, count, missing
