"""What `Loader.draws` says of samples of which several pictures are made: each step once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from genimage_stream.loading.transform import LoaderTransform
from genimage_stream.transforms.step import Draw
from genimage_stream.transforms.views import ViewCrop


def merged(of_pictures: Sequence[Sequence[Draw]], transform: LoaderTransform) -> list[Draw]:
    """The draws of one sample, one dict per step, of those of each of its pictures.

    The crop of fixed views is one entry with the place of each view in `views`. Several degradations are one entry,
    whose `inner` has the draws of each by name; a later step that draws otherwise for some of them, whose images have
    another size or had such a step already, has the draws of each by name in `degradations`, beside the first's.
    """
    names = transform.degradations
    if names is None:
        return _of_views(of_pictures, transform.lists)
    views = len(of_pictures) // len(names)
    found = {
        name: _of_views(of_pictures[at : at + views], transform.lists[at : at + views])
        for name, at in zip(names, range(0, len(of_pictures), views), strict=True)
    }
    first, last = transform.own
    inner = {name: draws[first : len(draws) - last] for name, draws in found.items()}
    entries = list(found.values())
    ends = zip(*(draws[len(draws) - last :] for draws in entries), strict=True) if last else []
    return [
        *entries[0][:first],
        {"step": "Degradations", "applied": True, "inner": inner},
        *(_once(end, "degradations", dict(zip(names, end, strict=True))) for end in ends),
    ]


def _of_views(of_pictures: Sequence[Sequence[Draw]], lists: Sequence[Sequence[Any]]) -> list[Draw]:
    found = []
    for steps, draws in zip(zip(*lists, strict=True), zip(*of_pictures, strict=True), strict=True):
        if not isinstance(steps[0], ViewCrop):
            found.append(_once(draws, "views", list(draws)))
            continue
        places = [{name: value for name, value in draw.items() if name not in ("step", "applied")} for draw in draws]
        for place, step in zip(places, steps, strict=True):
            place["mirrored"] = step.view >= 5
        found.append({"step": "ViewCrop", "applied": True, "views": places})
    return found


def _once(draws: Sequence[Draw], name: str, each: Any) -> Draw:
    """The first of draws, with `each` under a name where they differ."""
    same = all(draw == draws[0] for draw in draws[1:])
    return draws[0] if same else {**draws[0], name: each}
