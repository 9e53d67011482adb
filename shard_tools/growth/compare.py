"""What packing has to do where a dataset may be finished already: which groups are new, changed, or only there.

A group is the samples of one (generator, split). Groups that the sources do not hold stay as they are: the archives
that they came from may be gone.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genimage_stream.schema import INDEX_FILE, QUARANTINE_FILE
from shard_tools import state
from shard_tools.errors import TargetError, UnreadableImageError
from shard_tools.growth.held import NEW, Held, group_of
from shard_tools.growth.publish import QuarantineRow
from shard_tools.growth.renamed import refuse_other_names
from shard_tools.inspect import image_facts
from shard_tools.naming import source_names
from shard_tools.plan import GroupName, Shard
from shard_tools.readers import Readers
from shard_tools.target.local_storage import Storage
from shard_tools.work import PackOptions, Work, location


@dataclass
class Task:
    """`todo`: groups of the plan whose shards are to be written. `replaced`: of these, those that the dataset holds
    with other files, or held until this command was interrupted. `kept`: rows of its quarantine list that stay."""

    found: str  # new, unfinished, finished
    held: Held | None
    todo: set[GroupName]
    replaced: set[GroupName] = field(default_factory=set)
    kept: list[QuarantineRow] = field(default_factory=list)
    relisted: bool = False  # the quarantine list changes, and nothing else
    lost: list[str] = field(default_factory=list)
    begun: dict[str, Any] | None = None  # the plan of an interrupted run

    @property
    def idle(self) -> bool:
        return self.found == "finished" and not (self.todo or self.relisted or self.lost or self.begun)

    def places(self, shard: Shard) -> list[str]:
        """Where a shard of the plan is once it is written: aside, while another one has its place."""
        name = shard.generator, shard.split
        if name not in self.replaced:
            return [shard.path]
        aside = f"{NEW}/{shard.path}"
        return [aside] if self.held is not None and name in self.held.plans else [aside, shard.path]


def compare(storage: Storage, work: Work, options: PackOptions, known: Held | None = None) -> Task:
    """`known`: what was found a moment ago. Raises TargetError where the destination is another's, or would lose
    samples."""
    plan = work.plan
    found = state.begin(storage, plan, len(work.listing))
    held = Held.read(storage, known)
    if held is None:
        if options.add:
            raise TargetError(
                f"{storage.url} holds no finished dataset that --add could add to: pack its first sources without it"
            )
        return Task(found, None, {one.name for one in plan.groups})
    begun = state.read_plan(storage)
    here = {one.name for one in plan.groups}
    listed = here | {(r.generator, r.split) for r in work.listing.rejected if r.generator and r.split}
    others = set(held.plans) - listed
    lost = _lost(storage, held, others)
    task = Task(found, held, set(), lost=lost, begun=begun)
    if lost and (INDEX_FILE in lost or QUARANTINE_FILE in lost):  # everything is made again
        if any(held.plans.get(one.name) != one for one in plan.groups):
            raise TargetError(
                f"{storage.shown(lost[0])} is missing, and the sources are not those that the dataset was packed "
                "from: restore it from a copy, or give all sources as they were"
            )
        return task
    added = {one.name for one in plan.groups if one.name not in held.plans}
    refuse_other_names(held, work, options, added)
    names = source_names(work.listing, held.column("source", others)) if others else None
    if names is not None:
        work.planned.source = names.take(pa.array(work.row))
    changed = {one.name for one in plan.groups if one.name not in added and held.plans[one.name] != one}
    if options.add and changed:
        generator, split = min(changed)
        raise TargetError(
            f"{storage.url} holds other files of {generator} {split} than those to add, and --add adds whole groups: "
            "pack all sources of it together, without --add"
        )
    _nothing_is_removed(storage, held, work, changed)
    planned_bad, moved = _of_planned(held, work, here - added - changed)
    changed |= _repaired(work, options, planned_bad)
    task.todo = added | changed
    interrupted = {(g, s) for g, s in (begun or {}).get("replaced", [])}
    if begun is not None and begun.get("plan_digest") != plan.digest and (gone := interrupted - set(held.plans)):
        generator, split = min(gone)
        raise TargetError(
            f"{storage.url} was interrupted while {generator} {split} was being replaced: run that command again first"
        )
    task.replaced = changed | (interrupted & task.todo)
    work.rejected = [r for r in work.rejected if (r.generator, r.split) not in moved]
    task.kept = _kept(held, work, listed - moved, planned_bad, task.todo)
    if not task.todo:
        after = [*state.quarantine_rows(plan, work.planned, work.rejected, iter(())), *task.kept]
        task.relisted = _sorted(after) != _sorted(held.quarantine)
    return task


def _sorted(rows: list[QuarantineRow]) -> list[tuple[str, ...]]:
    return sorted(tuple(str(value) for value in row.values()) for row in rows)


def _lost(storage: Storage, held: Held, others: Collection[GroupName]) -> list[str]:
    lost = state.lost_files(storage)
    gone = [name for name in lost if "/" in name and group_of(name) in others]
    if gone or (others and lost and (lost[0] in (INDEX_FILE, QUARANTINE_FILE))):
        name = (gone or lost)[0]
        raise TargetError(
            f"{storage.shown(name)} is missing or cut off, and no source holds all that it is made of: restore it from "
            "a copy, or give all sources"
        )
    return lost


def _nothing_is_removed(storage: Storage, held: Held, work: Work, changed: Collection[GroupName]) -> None:
    """A changed group has more files, or others of the same names. Fewer would be a loss that nobody asked for."""
    for name in sorted(changed):
        before = _bases(held.column("key", [name]).combine_chunks())
        numbers = [np.arange(s.begin, s.end) for s in work.plan.shards if (s.generator, s.split) == name]
        after = _bases(work.planned.key.take(pa.array(np.concatenate(numbers))))
        missing = before.filter(pc.invert(pc.is_in(before, value_set=after)))
        if len(missing):
            raise TargetError(
                f"{storage.url} holds {len(missing):,} samples of {' '.join(name)} that the sources lack, e.g. "
                f"{missing[0].as_py()}, and pack removes nothing: give all sources of it, or remove it first by "
                f"`shard-tools drop {storage.url} --generators {name[0]}`"
            )


def _bases(keys: pa.Array) -> pa.Array:
    """Keys without what tells files of one name apart, which depends on how many there are."""
    return pc.replace_substring_regex(keys, r"(~[0-9a-f]{12})(~[0-9]+)?$", "")


def _of_planned(
    held: Held, work: Work, same: Collection[GroupName]
) -> tuple[list[tuple[QuarantineRow, int]], set[GroupName]]:
    """(row of the quarantine list, place in the plan) of files that were planned, read and found broken; and the groups
    whose files are elsewhere now, extracted, say, so that the list of these stays as it is."""
    bad: dict[GroupName, int] = {name: held.plans[name].files for name in same}
    for counts in held.fields["counts"]["groups"]:
        if (name := (counts["generator"], counts["split"])) in bad:
            bad[name] -= counts["samples"]
    rows = [row for row in held.quarantine if bad.get((str(row["generator"]), str(row["split"])))]
    places = pc.index_in(pa.array([row["source"] for row in rows], pa.string()), value_set=work.planned.source)
    found = [(row, at) for row, at in zip(rows, places.to_pylist(), strict=True) if at is not None]
    for row, _ in found:
        bad[str(row["generator"]), str(row["split"])] -= 1
    moved = {name for name, left in bad.items() if left}
    return [one for one in found if (one[0]["generator"], one[0]["split"]) not in moved], moved


def _repaired(work: Work, options: PackOptions, bad: list[tuple[QuarantineRow, int]]) -> set[GroupName]:
    """Groups of which a file that was broken is sound now, although it has the same name and size."""
    sound: set[GroupName] = set()
    readers = Readers(work.listing.containers)
    try:
        for row, at in bad:
            name = str(row["generator"]), str(row["split"])
            container, where = location(work.listing, int(work.row[at]))
            if name in sound or work.listing.containers[container].sequential:
                continue
            try:
                image_facts(readers.read(container, where), options.check, where.path)
                sound.add(name)
            except UnreadableImageError:
                pass
    finally:
        readers.close()
    return sound


def _kept(
    held: Held,
    work: Work,
    listed: Collection[GroupName],
    planned_bad: list[tuple[QuarantineRow, int]],
    todo: Collection[GroupName],
) -> list[QuarantineRow]:
    """Rows of the quarantine list that stay: of groups and files that the sources do not hold, and of files that were
    planned as they are now."""
    kept = [row for row, _ in planned_bad if (row["generator"], row["split"]) not in todo]
    apart = [row for row in held.quarantine if not (row["generator"] and row["split"])]
    if apart:
        sources = pa.array([row["source"] for row in apart], pa.string())
        known = pc.is_in(sources, value_set=work.planned.source).to_pylist()
        rejected = {one.source for one in work.rejected}
        kept += [
            row for row, is_here in zip(apart, known, strict=True) if not is_here and row["source"] not in rejected
        ]
    kept += [
        row
        for row in held.quarantine
        if row["generator"] and row["split"] and (row["generator"], row["split"]) not in listed
    ]
    return kept
