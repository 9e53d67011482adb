"""The end of packing: the results of all shards become the index, the quarantine list and dataset.json."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from genimage_stream.dataset.checks import checked
from genimage_stream.dataset.info import WrittenFields
from genimage_stream.vocabulary import LABELS
from shard_tools import state
from shard_tools.errors import TargetError
from shard_tools.growth.held import Held, Rows
from shard_tools.growth.index import read_bad
from shard_tools.growth.publish import Head, QuarantineRow, publish
from shard_tools.layout.words import KNOWN, read_name
from shard_tools.plan import GroupName
from shard_tools.scan import UNKNOWN
from shard_tools.target.local_storage import Storage
from shard_tools.work import PackOptions, Work


def gather(
    work: Work,
    options: PackOptions,
    storage: Storage,
    todo: Collection[GroupName] | None = None,
    held: Held | None = None,
    kept: Sequence[QuarantineRow] = (),
    *,
    anew: bool = False,
) -> None:
    """The end of packing: the results of the shards of the groups `todo` (None: of all), with what is `held` of other
    groups and `kept` of the quarantine list, become the dataset's index, quarantine list and dataset.json. `anew`:
    another process may do the same. Raises TargetError when a result is missing."""
    plan = work.plan
    done = {one.name: one for one in plan.groups if todo is None or one.name in todo}
    others = {name: one for name, one in held.plans.items() if name not in done} if held is not None else {}
    quarantined: list[tuple[int, list[tuple[int, str]]]] = []

    def packed(name: GroupName) -> Iterator[Rows]:
        for number, shard in enumerate(plan.shards):
            if (shard.generator, shard.split) == name:
                loaded = state.load_result(storage, number, shard, work.planned)
                place = storage.shown(state.result_name(number))
                if loaded is None:
                    raise TargetError(f"{place} has gone or is damaged: run the same command again")
                table, size, bad = loaded
                try:
                    checked(table, place)
                except ValueError as error:
                    reason = str(error).rpartition(": ")[0]
                    raise TargetError(f"{reason}: remove that file and pack again, which makes it anew") from error
                if bad:
                    quarantined.append((number, bad))
                if size:
                    yield Rows(shard.path, size, table)

    def rows() -> Iterator[Rows]:
        for name in sorted({**done, **others}):
            if name in done:
                yield from packed(name)
            else:
                assert held is not None
                yield from held.rows(name)

    def bad_rows() -> list[QuarantineRow]:
        return [*state.quarantine_rows(plan, work.planned, work.rejected, iter(quarantined)), *kept]

    terms = options.license or (held.fields.get("license") if held is not None else None)
    types = work.planned.kept_types if held is None or not others else held.kept_with(work.planned.kept_types)
    publish(storage, Head(plan.options, [*done.values(), *others.values()], types, terms), rows(), bad_rows, anew=anew)


def lost_groups(storage: Storage, dataset: WrittenFields) -> list[str]:
    """Sentences about the groups of a dataset.json that ended in quarantine as a whole, and about generators and labels
    of which nothing but the names of folders is known."""
    return _unknown_groups(storage, dataset) + [
        f"{group['generator']} {group['split']} {group['label']}: none of its files could be packed, "
        f"{group['quarantined']:,} are in quarantine"
        for group in dataset["counts"]["groups"]
        if group["quarantined"] and not group["samples"]
    ]


def _unknown_groups(storage: Storage, dataset: WrittenFields) -> list[str]:
    """A stray folder of pictures is none; one by the name of a generator is, and so is any where a label is missing."""
    counts = dataset["counts"]
    if counts["quarantined"] == sum(group["quarantined"] for group in counts["groups"]):
        return []
    labels = {group["label"] for group in counts["groups"] if group["samples"]}
    packed = {group["generator"] for group in counts["groups"] if group["samples"]}
    found = Counter(
        row["generator"] or "images of unknown generators"
        for row in read_bad(storage)
        if not (row["generator"] and row["label"]) and (row["reason"] or "").startswith(UNKNOWN)
    )
    return [
        f"{generator}: none of its files could be packed, {count:,} are in quarantine, for nothing tells what they are"
        for generator, count in sorted(found.items())
        if generator not in packed and (len(labels) < len(LABELS) or read_name(generator).rank >= KNOWN)
    ]
