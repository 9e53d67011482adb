"""A loader's `transform=`: from what the user passes to steps that fit the dataset, and their plan for a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from genimage_stream.arguments import WrongKindError
from genimage_stream.dataset.access import Access
from genimage_stream.dataset.reals import qualities_of_reals
from genimage_stream.decode.pixels import Small
from genimage_stream.loading.variants import Variants
from genimage_stream.loading.whole import SizesAfter, unlike
from genimage_stream.order.windows import Place, Windows, windows
from genimage_stream.transforms.chance import Chances
from genimage_stream.transforms.combine import OnlyIf
from genimage_stream.transforms.degrade import JPEG, LIKE_REALS
from genimage_stream.transforms.geometry import CenterCrop, RandomCrop
from genimage_stream.transforms.many import Sizes
from genimage_stream.transforms.plan import output_size
from genimage_stream.transforms.step import Draw, Size, Step, at_place
from genimage_stream.transforms.turn import RandomHorizontalFlip
from genimage_stream.transforms.values import sides
from genimage_stream.transforms.views import ViewCrop, Views
from genimage_stream.vocabulary import generator_alias

_MOST_SIZES = 1 << 16  # unlike ones, beyond which steps are not tried on all of them


def steps_of(transform: Any, *, empty: bool = False) -> tuple[Step, ...]:
    """The steps that `transform=` names. Raises ValueError for anything but a list of steps, which may be `empty`."""
    if isinstance(transform, Step) or not isinstance(transform, (list, tuple)):
        raise WrongKindError(f"transform={transform!r}: a list of steps is needed, e.g. [T.RandomCrop(224)]")
    for place, step in enumerate(transform):
        if not isinstance(step, Step):
            raise WrongKindError(f"entry {place} of the transform is no step but {step!r}")
    if not transform and not empty:
        raise ValueError("transform=[] has no steps; omit it for crops of the images as they are")
    return tuple(transform)


def fix_to_dataset(steps: Sequence[Step], access: Access) -> tuple[Step, ...]:
    """The steps with all that they take from the dataset fixed: OnlyIf's generators get the dataset's names, and JPEGs
    like those of the reals get their qualities.

    Raises ValueError, naming the step and its place, for what the dataset does not have.
    """
    fixed = []
    for number, step in enumerate(steps):
        try:
            fixed.append(_fixed(step, access))
        except ValueError as error:
            raise ValueError(f"{at_place(number, step)}: {error}") from None
    return tuple(fixed)


def _fixed(step: Step, access: Access) -> Step:
    if isinstance(step, JPEG) and step.quality == LIKE_REALS:
        return replace(step, reals=qualities_of_reals(access))
    if isinstance(step, OnlyIf):
        names, generators = step.generators, access.columns.words("generator")[1]
        if names is not None:
            names = tuple(name if name in generators else str(generator_alias(name)) for name in names)
            for given, name in zip(step.generators or (), names, strict=True):
                if name not in generators:
                    raise ValueError(f"the dataset has no generator {given!r}; it has {', '.join(generators)}")
        return replace(step, step=_fixed(step.step, access), generators=names)
    if step.inner:
        combined: Any = step
        return cast("Step", replace(combined, transforms=tuple(_fixed(inner, access) for inner in step.inner)))
    return step


@dataclass(frozen=True)
class ShortForm:
    """Windows cut out and mirrored, without other steps. `crop`: (height, width); `flip`: a probability.

    Its random numbers are those of RandomCrop and RandomHorizontalFlip.
    """

    crop: tuple[int, int]
    position: Place
    flip: float
    small: Small = "tile"

    def windows(self, chances: Chances, sizes: Sizes) -> Windows:
        """Those of n images of `sizes` (n, 2) (width, height)."""
        words = np.zeros((3, len(sizes)), np.uint32)
        if self.position == "random":
            corners = chances.streams("RandomCrop", 0)
            words[0], words[1] = corners.words(), corners.words()
        if 0 < self.flip < 1:
            words[2] = chances.streams("RandomHorizontalFlip", 0).words()
        return windows(sizes, words, crop=self.crop, position=self.position, flip=self.flip, small=self.small)

    def draws(self, chances: Chances, sizes: Sizes) -> list[list[Draw]]:
        """The same as `Loader.draws` says it."""
        found = self.windows(chances, sizes)
        crop = "RandomCrop" if self.position == "random" else "CenterCrop"
        return [
            [
                {"step": crop, "applied": True, "x": x, "y": y},
                {"step": "RandomHorizontalFlip", "applied": bool(flip)},
            ]
            for (x, y), flip in zip(found.corners.tolist(), found.flips, strict=True)
        ]


@dataclass(frozen=True)
class LoaderTransform:
    """The steps of one loader, fixed to its dataset, and the one size of what they make, or the sizes, by what they are
    made of.

    `short`: the same result by windows alone, where the steps do nothing else.
    """

    lists: tuple[tuple[Step, ...], ...]  # of each picture of a sample
    shape: tuple[int, ...]  # of a sample's pictures: () for one
    degradations: tuple[str, ...] | None  # their names, where the shape has them
    size: Size | SizesAfter
    short: ShortForm | None
    views: Views | None = None
    own: tuple[int, int] = (0, 0)  # of each list the steps before its degradation, and after it

    @classmethod
    def of(cls, variants: Variants, access: Access) -> LoaderTransform:
        """Check the steps with the sizes of the dataset's images. Raises ValueError, naming the step and its place."""
        lists = tuple(fix_to_dataset(steps, access) for steps in variants.lists)
        if variants.views == "whole":
            return cls(lists, (), None, SizesAfter.of(lists[0], access), None, variants.views)
        before = _sizes(access)
        sizes = {output_size(steps, before) for steps in lists}
        if len(sizes) > 1:
            raise ValueError(f"the degradations give images of unlike sizes, {sorted(sizes)}: add a crop after them")
        short = None if variants.views or variants.shape else _short_form(lists[0], access)
        return cls(lists, variants.shape, variants.degradations, sizes.pop(), short, variants.views, variants.own)

    def identity(self) -> list[Any]:
        """What tells it from others in a state, JSON-able."""
        found: list[Any] = [[step.as_json() for step in steps] for steps in self.lists]
        if self.views == "whole":
            return ["whole", found]
        return found if self.shape else found[0]


def _short_form(steps: Sequence[Step], access: Access) -> ShortForm | None:
    crop, *rest = steps
    flips = [step for step in rest if isinstance(step, RandomHorizontalFlip)]
    if not isinstance(crop, (CenterCrop, RandomCrop)) or isinstance(crop, ViewCrop) or len(flips) < len(rest):
        return None
    tiles = isinstance(crop, RandomCrop) and crop.pad == "tile"
    height, width = sides(crop.size)
    widths, heights = (access.take(column) for column in access.columns.numbers("width", "height"))
    if len(flips) > 1 or not (tiles or ((widths >= width).all() and (heights >= height).all())):
        return None
    rounding: Place = "random"
    if isinstance(crop, CenterCrop):
        rounding = "center" if crop.rounding == "floor" else "torchvision"
    return ShortForm((height, width), rounding, flips[0].p if flips else 0.0)


def _sizes(access: Access) -> frozenset[Size] | None:
    """The sizes of the dataset's images; None when there are many."""
    found = np.unique(unlike(*(access.take(column) for column in access.columns.numbers("width", "height"))))
    if len(found) > _MOST_SIZES:
        return None
    return frozenset(Size(one >> 32, one & 0xFFFFFFFF) for one in found.tolist())
