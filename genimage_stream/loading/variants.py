"""What a loader makes of each sample: one picture, or one for each of several degradations or views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from genimage_stream.arguments import WrongKindError, one_of
from genimage_stream.decode.pixels import Small
from genimage_stream.order.windows import Position
from genimage_stream.transforms.degradations import steps_of_degradation
from genimage_stream.transforms.geometry import RandomCrop
from genimage_stream.transforms.step import Step
from genimage_stream.transforms.turn import RandomHorizontalFlip
from genimage_stream.transforms.views import FIXED, NAMES, ViewCrop, Views, steps_by_view

Degrade = str | Sequence[str]


@dataclass(frozen=True)
class Variants:
    """`lists`: the steps of each picture of a sample, degradation by degradation, in each view by view. `shape`: (),
    (degradations,), (views,) or both. `degradations`: their names, where several were asked for. `views` "all": one
    list, whose GridCrop makes several pictures; "whole": one list, after which sizes may differ. `own`: how many steps
    of each list come before those of its degradation, and after them."""

    lists: tuple[tuple[Step, ...], ...]
    shape: tuple[int, ...] = ()
    degradations: tuple[str, ...] | None = None
    views: Views | None = None
    own: tuple[int, int] = (0, 0)

    @classmethod
    def of(
        cls,
        steps: Sequence[Step],
        degrade: Degrade | None = None,
        views: Views | None = None,
        stride: int | tuple[int, int] | None = None,
    ) -> Variants:
        """The steps after each degradation, and for each view. Raises ValueError for what cannot be."""
        names = check_degrade(degrade)
        several = not (degrade is None or isinstance(degrade, str))
        if views is not None:
            one_of("views", views, NAMES)
        if several and views in ("all", "whole"):
            raise ValueError(f"degrade={list(names)!r} beside views={views!r}: that takes one degradation at a time")
        if stride is not None and views != "all":
            raise ValueError(f'stride={stride!r} has no effect with views={views!r}: it is for "all"')
        by_view = [tuple(steps)] if views is None else steps_by_view(steps, views, stride)
        lists = tuple((*steps_of_degradation(name), *rest) for name in names for rest in by_view)
        shape = (len(names),) * several + (len(by_view),) * (views in FIXED)
        return cls(lists, shape, names if several else None, views, (0, len(by_view[0])))

    def after(self, first: Sequence[Step]) -> Variants:
        """The same after other steps."""
        before, behind = self.own
        lists = tuple((*first, *steps) for steps in self.lists)
        return replace(self, lists=lists, own=(before + len(first), behind))


def check_degrade(degrade: Any) -> tuple[str, ...]:
    """The names of `degrade=`, one, several or None. Raises ValueError for what is no degradation."""
    if degrade is None:
        return ("none",)
    if not isinstance(degrade, (str, list, tuple)):
        raise WrongKindError(f"degrade={degrade!r}: a text, e.g. 'jpeg:65', or a list of them is needed")
    names = (degrade,) if isinstance(degrade, str) else tuple(degrade)
    if not names:
        raise ValueError("degrade=[] has no degradation; omit it for images as they are")
    for name in names:
        steps_of_degradation(name)
    if len(set(names)) < len(names):
        raise ValueError(f"degrade={degrade!r} has a degradation twice")
    return names


def plain_steps(crop: tuple[int, int], position: Position, *, flip: bool, small: Small) -> tuple[Step, ...]:
    """The crop and flip of a loader without a transform, as steps. Raises ValueError where they cannot say it."""
    if small != "tile":
        raise ValueError(
            f"small={small!r} beside degrade= or views=: give steps that say it, e.g. "
            'transform=[T.RandomCrop(224, pad="reflect")]'
        )
    random: Step = RandomCrop(crop, pad="tile")
    window = random if position == "random" else ViewCrop(crop, pad="tile", rounding="floor")
    return (window, RandomHorizontalFlip()) if flip else (window,)
