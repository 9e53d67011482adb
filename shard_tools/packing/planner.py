"""The plan that all parts of a dataset share: made once, by whoever comes first, and compared by the others."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from genimage_stream import __version__
from genimage_stream.schema import FORMAT_VERSION, PACK_FOLDER, PLAN_FILE
from shard_tools import state
from shard_tools.addresses import is_object_url
from shard_tools.errors import TargetError
from shard_tools.layout.columns import NO_COLUMNS
from shard_tools.pack import plan_sources, unfold
from shard_tools.packing import stored
from shard_tools.packing.sound import is_count
from shard_tools.packing.turn import Turn
from shard_tools.plan import Plan
from shard_tools.target.local_storage import Storage
from shard_tools.terminal.progress import Progress
from shard_tools.work import PackOptions, Work

Begun = dict[str, Any]  # plan.json of a dataset that is packed in parts

_LIST = re.compile(rf"{re.escape(PACK_FOLDER)}/plan-[0-9a-z]+\.arrow")


def is_finished(storage: Storage, options: PackOptions) -> bool:
    """Raises TargetError when it was packed with other options, or the destination is somebody else's."""
    if state.read_dataset(storage) is None and state.read_plan(storage) is not None:
        return False
    return state.begin(storage, Plan(np.empty(0, np.int64), [], [], options.stored()), 0) == "finished"


def planned(sources: Sequence[str], storage: Storage, options: PackOptions, progress: Progress) -> tuple[Begun, bool]:
    """(what the plan of all parts says of itself, whether this process has made it). ({}, False) when the dataset is
    finished. Raises ToolError."""
    turn = Turn(storage, progress)
    made = False
    while not is_finished(storage, options):
        if begun := read_begun(storage):
            _check(begun, storage, options)
            return begun, made
        if turn.is_ours():
            with turn.held():
                made = _plan(sources, storage, options, progress)
        else:
            turn.wait()
    return {}, False


def work_of(
    begun: Begun,
    sources: Sequence[str],
    storage: Storage,
    options: PackOptions,
    progress: Progress,
    only: Collection[int],
) -> Work:
    """The plan, with the samples of the shards `only`. The sources are listed again only where they may have changed.
    Raises ToolError, also when they are others than those of the plan."""
    ours = stored.load(storage, begun, only)
    trusted = stored.is_within(ours, sources, storage.local_path(f"{PACK_FOLDER}/unfolded"))
    if trusted and begun.get("asked") == _asked(sources, options) and _unchanged(ours.listing.changed):
        return ours
    work = plan_sources(sources, storage, options, progress)
    state.begin(storage, work.plan, len(work.listing))
    whole = stored.load(storage, begun)
    if not stored.same(whole, work):
        raise TargetError(
            f"{storage.url} was planned from the same files under other paths, or with other --map, --columns or "
            "--labels: give the same SRC and options to every part"
        )
    # Tables are unfolded once, by the plan's process. Otherwise the sources are where this process has found them.
    if any(one.sequential for one in work.listing.containers):
        if trusted:
            return ours
        unfold(work, storage, {one.name for one in work.plan.groups})
    return work


def read_begun(storage: Storage) -> Begun | None:
    """plan.json of a dataset that is not finished, also of one that is not packed in parts; None where there is none.
    Raises TargetError when it is damaged."""
    begun = state.read_plan(storage)
    if begun is not None and "list" in begun:
        sound = isinstance(begun["list"], str) and _LIST.fullmatch(begun["list"]) is not None
        sound = sound and all(is_count(begun.get(name)) for name in ("planned_files", "planned_shards"))
        terms = begun.get("license")
        if not sound or not (terms is None or (isinstance(terms, str) and terms.isprintable())):
            raise TargetError(
                f"{storage.shown(PLAN_FILE)} is damaged: remove the destination and plan again, or restore that file"
            )
    return begun


def _check(begun: Begun, storage: Storage, options: PackOptions) -> None:
    if "list" not in begun:
        raise TargetError(
            f"{storage.url} holds an unfinished dataset that was not begun in parts: run `shard-tools pack` again "
            "without --part, or choose another destination"
        )
    if begun.get("written_by") != __version__:
        raise TargetError(
            f"{storage.url} was planned by genimage-stream {begun.get('written_by')}, and this is {__version__}: "
            "install the same version on all machines"
        )
    same = begun.get("options") == options.stored()
    plan = Plan(np.empty(0, np.int64), [], [], options.stored())
    if not same:
        state.begin(storage, plan, 0)  # says which option
    if begun.get("license") != options.license:
        raise TargetError(
            f"{storage.url} holds an unfinished dataset begun with license = {begun.get('license') or 'nothing'}, not "
            f"{options.license or 'nothing'}: give the same --license to every part"
        )


def _plan(sources: Sequence[str], storage: Storage, options: PackOptions, progress: Progress) -> bool:
    """Make the plan, and publish it unless another process was faster; whether it was this one."""
    work = plan_sources(sources, storage, options, progress)
    work.listing.changed = _states(work, options)
    unfold(work, storage, {one.name for one in work.plan.groups})
    name = f"{PACK_FOLDER}/plan-{os.urandom(8).hex()}.arrow"
    sha256 = stored.save(work, storage, name)
    begun = {
        "format_version": FORMAT_VERSION,
        "written_by": __version__,
        "plan_digest": work.plan.digest,
        "options": work.plan.options,
        "planned_files": len(work.row),
        "planned_shards": len(work.plan.shards),
        "license": options.license,
        "list": name,
        "sha256": sha256,
        "asked": _asked(sources, options),
    }
    if storage.write_new(PLAN_FILE, state.json_bytes(begun)):
        if state.read_dataset(storage) is None:
            return True
        storage.remove(PLAN_FILE)  # this process came so late that the others have finished
    storage.remove(name)
    return False


def _asked(sources: Sequence[str], options: PackOptions) -> str:
    """What decides the listing of the sources."""
    where = [one if is_object_url(one) else os.path.abspath(one) for one in sources]
    nothing = PackOptions()
    listed = replace(
        nothing,
        generators=options.generators,
        splits=options.splits,
        mappings=options.mappings,
        columns=options.columns,
        allow_missing_volumes=options.allow_missing_volumes,
    )
    return f"{where} {listed}"


def _states(work: Work, options: PackOptions) -> dict[str, list[int]]:
    """What of the sources changes when files come or go: folders and archives. Empty where nothing says so, as in
    object stores and of tables beside images."""
    files = stored.files_of(work.listing.containers)
    if files is None or options.columns != NO_COLUMNS:
        return {}
    try:
        return work.listing.changed | {path: _state(path) for path in files}
    except OSError:
        return {}


def _state(path: str) -> list[int]:
    facts = os.stat(path)
    return [facts.st_mtime_ns, facts.st_size]


def _unchanged(states: dict[str, list[int]]) -> bool:
    try:
        return bool(states) and all(_state(path)[: len(before)] == before for path, before in states.items())
    except OSError:
        return False
