"""A list of steps for many samples at once, and what can be said of it before any image is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from genimage_stream.decode import PlannedSteps
from genimage_stream.transforms.chance import Chances
from genimage_stream.transforms.many import Many, Sizes
from genimage_stream.transforms.step import Size, Step, at_place, ordinals_of
from genimage_stream.transforms.views import GridCrop


def plan_samples(
    steps: Sequence[Step],
    chances: Chances,
    sizes: Sizes,
    labels: tuple[npt.NDArray[np.int64], Sequence[str]],
    generators: tuple[npt.NDArray[np.int64], Sequence[str]],
    splits: tuple[npt.NDArray[np.int64] | None, Sequence[str]] = (None, ()),
) -> PlannedSteps:
    """Draw the values of all steps for n images of `sizes` (n, 2) (width, height), as `draws_of` draws them for each.

    `labels`, `generators` and `splits`: codes (n,) and their names. An image that a step cannot take gets a step that
    fails. With a GridCrop among the steps an image gives as many pictures as that has windows; the steps after it draw
    alike for all of them.
    """
    many = Many(chances, sizes, *labels, *generators, ordinals_of(steps), splits=splits[0], split_names=splits[1])
    many.step = "the transform"
    for i in np.flatnonzero((sizes < 1).any(axis=1)).tolist():
        many.fail(i, "the index has no size for this image")
    everyone = np.arange(len(sizes))
    place = 0
    windows: _Windows | None = None
    for number, step in enumerate(steps):
        many.step = at_place(number, step)
        if isinstance(step, GridCrop):
            windows = _Windows(step, [len(made) for made in many.steps], many.sizes.copy())
        step.plan_many(many, place, everyone)
        place += sum(1 for _ in step.walk())
    planned = np.maximum(sizes, 1).astype(np.int32)
    return PlannedSteps(many.steps, planned) if windows is None else windows.pictures(many, planned)


class _Windows(NamedTuple):
    """A GridCrop: its place among each image's steps of the core, and the sizes (n, 2) of what reaches it."""

    step: GridCrop
    places: list[int]
    sizes: Sizes

    def pictures(self, many: Many, planned: npt.NDArray[np.int32]) -> PlannedSteps:
        lists: list[list[Any]] = []
        first = [0]
        for i, (made, at, size) in enumerate(zip(many.steps, self.places, self.sizes.tolist(), strict=True)):
            if i in many.failed:
                lists.append(made)
            else:
                whole = Size(*size)
                crops = self.step.each(self.step.corners(whole), whole)
                lists += [[*made[:at], crop, *made[at + 1 :]] for crop in crops]
            first.append(len(lists))
        return PlannedSteps(lists, planned, np.array(first, np.int32))


def check_finishing(steps: Sequence[Step], output: str) -> None:
    """Steps that act on normalised values come last, and the batch has such values.

    Raises ValueError, naming the step and its place, otherwise.
    """
    first: str | None = None  # of those steps
    for number, step in enumerate(steps):
        leaves = [inner for inner in step.walk() if not inner.inner]
        finishing = [inner.acts_on_floats for inner in leaves]
        if not any(finishing):
            if first is not None:
                raise ValueError(f"{at_place(number, step)}: it comes after {first}, which acts on normalised values")
            continue
        if not all(finishing):
            raise ValueError(
                f"{at_place(number, step)}: some of its steps act on normalised values and others do not; separate them"
            )
        if output == "uint8":
            raise ValueError(
                f'{at_place(number, step)}: it acts on normalised values; output="float32" or "float16" is needed, not '
                '"uint8"'
            )
        first = first or at_place(number, step)


def output_size(steps: Sequence[Step], sizes: frozenset[Size] | None) -> Size:
    """The one size of what the steps make of images of these sizes (None: any).

    Raises ValueError, naming the step and its place, when a step takes none of that size or the result may have
    several.
    """
    ended = "a list without steps"
    for number, step in enumerate(steps):
        ended = at_place(number, step)
        try:
            sizes = step.sizes_after(sizes)
        except ValueError as error:
            raise ValueError(f"{ended}: {error}") from None
    if sizes is None or len(sizes) != 1:
        shown = "" if sizes is None else ", e.g. " + " and ".join(f"{w}x{h}" for w, h in sorted(sizes)[:2])
        raise ValueError(
            f"the images of a batch have one size, but after {ended} theirs differ{shown}: "
            "add a crop, e.g. RandomCrop(224) or CenterCrop(224)"
        )
    return next(iter(sizes))
