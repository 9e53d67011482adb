"""What the parts of several joined datasets give, for states and receipts, and in which of them two runs differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Contribution = Mapping[str, Any]  # path, samples, digest: of `Access.contributions`


def differing_parts(before: Any, here: Sequence[Contribution]) -> str:
    """A clause that names parts that are missing, others or new, for the end of a sentence; "" where none is known.

    `before`: what a state says, which may be anything. A part is known by its samples, wherever it is now.
    """
    then = _known(before)
    if not then or len(then) == 1 == len(here):
        return ""
    known, same = {one["digest"] for one in here}, {one["digest"] for one in then}
    paths = {one["path"]: one for one in here if one["digest"] not in same}
    said = []
    for one in then:
        if one["digest"] in known:
            continue
        if (now := paths.pop(one["path"], None)) is None:
            said.append(f"{one['path']} with {one['samples']:,} samples is missing")
        else:
            said.append(f"{one['path']} has other samples ({one['samples']:,} then, {now['samples']:,} here)")
    said += [f"{path} was none of them" for path in paths]
    return f": of the {len(then)} datasets that were joined then, {', '.join(said)}" if said else ""


def _known(before: Any) -> list[dict[str, Any]]:
    if not isinstance(before, (list, tuple)):
        return []
    form = {"path": str, "samples": int, "digest": str}
    return [
        dict(one)
        for one in before
        if isinstance(one, Mapping) and all(isinstance(one.get(name), kind) for name, kind in form.items())
    ]
