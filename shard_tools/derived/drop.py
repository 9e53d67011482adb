"""`shard-tools drop`: a finished dataset without some of its generators."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from genimage_stream.schema import PLAN_FILE
from shard_tools import state
from shard_tools.errors import TargetError, ToolError
from shard_tools.growth.held import Held, sweep
from shard_tools.growth.publish import finish_publishing, withdraw
from shard_tools.target.local_storage import Storage, open_storage
from shard_tools.target.lock import locked


@dataclass
class Dropped:
    destination: str
    generators: list[str]
    samples: int  # that are left
    shards: int


def drop(destination: str, generators: Collection[str]) -> Dropped:
    """Remove generators from a finished dataset: from its index first, then their shards. Killed at any moment, it is
    whole, and the same command goes on. Raises ToolError."""
    storage = open_storage(destination)
    _checked(storage, generators)
    with locked(storage):
        finish_publishing(storage)
        held, begun = _checked(storage, generators)
        if begun is not None and "drop" not in begun:
            raise TargetError(f"{storage.url} is being packed: run the same `shard-tools pack` again first")
        gone = {name for name in held.plans if name[0] in generators}
        gone |= {(g, s) for g, s in (begun or {}).get("groups", [])}
        state.write_json(storage, PLAN_FILE, {"drop": sorted(generators), "groups": sorted(gone)})
        if gone & set(held.plans):
            withdraw(held, gone)
        sweep(storage, gone)
    counts = held.fields["counts"] if (left := state.read_dataset(storage)) is None else left.fields["counts"]
    return Dropped(storage.url, sorted(generators), counts["samples"], counts["shards"])


def _checked(storage: Storage, generators: Collection[str]) -> tuple[Held, dict[str, Any] | None]:
    held = Held.read(storage)
    if held is None:
        raise TargetError(f"{storage.url}: there is no finished dataset to drop generators from")
    begun = state.read_plan(storage)
    known = {generator for generator, _ in held.plans}
    already = set((begun or {}).get("drop", []))
    unknown = sorted(set(generators) - known - already)
    if unknown:
        raise ToolError(
            f"--generators {unknown[0]}: {storage.url} has no such generator; there are: {', '.join(sorted(known))}"
        )
    if known <= set(generators):
        raise ToolError(
            f"--generators {','.join(sorted(generators))}: {storage.url} has no others; remove the folder instead"
        )
    return held, begun
