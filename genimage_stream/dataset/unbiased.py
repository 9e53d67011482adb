"""`gs.unbiased`: reals and fakes that differ in no property of the file that stays visible in the pixels.

The recipe of "Fake or JPEG? Revealing Common Biases in Generated Image Detection Datasets" (Grommelt et al.,
arXiv:2403.17608): reals within a window of sizes and of JPEG qualities, from all subsets where wanted, as many of each
class as there are fakes, and fakes that are compressed as these reals are. What remains are the sizes themselves and
the place where the 8x8 blocks of the compression begin: the last step cuts a window of one size out of every image, at
a random place.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from genimage_stream.arguments import WrongKindError, flag, whole
from genimage_stream.dataset.dataset import Dataset
from genimage_stream.dataset.reals import CHROMAS, qualities_of_reals
from genimage_stream.dataset.subsets import turns_of
from genimage_stream.transforms.combine import OnlyIf
from genimage_stream.transforms.degrade import JPEG
from genimage_stream.transforms.geometry import RandomCrop
from genimage_stream.vocabulary import FAKE, LABELS, REAL

if TYPE_CHECKING:
    from genimage_stream.dataset.access import Access

Mask = npt.NDArray[np.bool_]

#: The window is this much smaller than the smallest image: then the blocks of JPEGs with halved chroma, 16 pixels wide,
#: begin anywhere in it, in the smallest images too.
MARGIN = 15
_SMALLEST = 32  # pixels of a side, below which nothing would be left to look at
_MOST_LEFT_OUT = 0.1  # of each label the share of images below the size that is chosen by default
_LOSSLESS = ("png", "bmp", "tiff")


class Window(NamedTuple):
    """Both ends included, None for an open one."""

    lowest: int | None
    highest: int | None

    def holds(self, numbers: npt.NDArray[Any]) -> Mask:
        inside: Mask = np.ones(len(numbers), bool)
        if self.lowest is not None:
            inside &= numbers >= self.lowest
        if self.highest is not None:
            inside &= numbers <= self.highest
        return inside


class Unbiased(Dataset):
    """What `unbiased` returns: a Dataset with `steps`, and a report of what was kept."""

    def __init__(self, access: Access, report: dict[str, Any]) -> None:
        super().__init__(access)
        self._report = report

    def report(self) -> dict[str, Any]:
        """What was kept and dropped, JSON-able: "kept" {label: images}, "dropped" {label: {reason: images}}, "groups"
        [{generator, split, label, kept, dropped}], and the "size" and "quality" windows, "crop" in pixels, "per_class"
        and "seed" that this was made with. Each image that was dropped counts once, by the first reason."""
        return dict(self._report)

    def __reduce__(self) -> tuple[Any, ...]:
        make, arguments = super().__reduce__()
        return _again, (make, arguments, self._report)


def unbiased(
    train: Dataset,
    reals_from: Dataset | None = None,
    *,
    size: int | tuple[int | None, int | None] | None = None,
    quality: int | tuple[int | None, int | None] | None = None,
    per_class: bool = True,
    seed: int = 0,
) -> Unbiased:
    """The fakes of `train`, and as many reals of the same split (and class), matched in size and JPEG quality.

    `reals_from`: where reals are taken from, e.g. all subsets of the dataset; by default `train`. `size`: a window
    (lowest, highest) in pixels that both sides of every image lie in, None for an open end; one number is the lowest.
    By default, or without a lowest one, that is the largest which at least nine in ten of the reals, and of each
    generator's fakes, have. `quality`: likewise of the reals' JPEG qualities, one number for that one alone; by default
    any that is known. `per_class`: as many reals as fakes of each class, else of each split. `seed`: which ones are
    kept of those that are too many, by the images' content.

    The dataset that this returns carries `steps`, which a loader takes before all others: fakes are compressed with the
    qualities and chroma of its reals, as often as these occur, and every image is cut to one window at a random place,
    15 pixels smaller than the lowest size. Left out are gray, CMYK and palette images, reals that are no JPEGs or have
    unusual tables, and fakes that are JPEGs already. `report()` counts them.

    Raises ValueError for windows that make no sense, for selections of two datasets, and when a split is left without
    reals or one of a generator's splits without fakes, naming the reasons.
    """
    for name, given in (("train", train), ("reals_from", reals_from or train)):
        if not isinstance(given, Dataset):
            raise WrongKindError(f"{name}={given!r} is no dataset: gs.open_dataset(path) gives one")
        if given.steps:
            raise ValueError(f"{name} carries steps already: make the selection that it was made from unbiased")
    pool = train if reals_from is None else reals_from
    if pool.access.columns is not train.access.columns:
        raise ValueError("train and reals_from are of two opened datasets: open it once, and select twice")
    sizes = _window("size", size, one_is_all=False)
    qualities = _window("quality", quality, one_is_all=True)
    chosen = _Choice(train, pool, flag("per_class", per_class), whole("seed", seed, 0))
    chosen.drop_unlike(qualities)
    sizes = chosen.drop_sizes(sizes)
    chosen.drop_copies()
    chosen.match()
    chosen.need_all_groups()
    kept = train.access.with_rows(np.sort(chosen.rows[chosen.kept]))
    assert sizes.lowest is not None
    crop = sizes.lowest - MARGIN
    like_reals = JPEG("like reals", reals=qualities_of_reals(kept))
    report = {**chosen.counts(), "size": list(sizes), "quality": list(qualities), "crop": crop}
    report |= {"per_class": chosen.per_class, "seed": chosen.seed}
    return Unbiased(replace(kept, steps=(OnlyIf(like_reals, label=FAKE), RandomCrop(crop))), report)


class _Choice:
    """The candidates, and why each is dropped: places in `reasons`, 0 for those that are kept."""

    def __init__(self, train: Dataset, pool: Dataset, per_class: bool, seed: int) -> None:
        access = train.access
        self.access, self.per_class, self.seed = access, per_class, seed
        labels = access.targets()[0]
        fakes = access.rows[labels[access.rows] == LABELS.index(FAKE)]
        reals = pool.access.rows[labels[pool.access.rows] == LABELS.index(REAL)]
        if not len(fakes):
            raise ValueError("unbiased: the selection has no fakes, which reals could be matched with")
        self.rows = np.concatenate([fakes, reals])
        self.fake: Mask = np.arange(len(self.rows)) < len(fakes)
        self.reason = np.zeros(len(self.rows), np.int8)
        self.reasons = ["kept"]
        columns = access.columns
        self.split, self.splits = columns.words("split")[0][self.rows], columns.words("split")[1]
        self.generator, self.generators = columns.words("generator")[0][self.rows], columns.words("generator")[1]
        pairs = np.unique([self.generator[self.fake], self.split[self.fake]], axis=1)
        self.groups: list[tuple[int, int]] = list(zip(*pairs.tolist(), strict=True))

    @property
    def kept(self) -> Mask:
        return np.asarray(self.reason == 0)

    def drop(self, which: Mask, reason: str) -> None:
        """Drop those that are not dropped yet."""
        if reason not in self.reasons:
            self.reasons.append(reason)
        self.reason[which & self.kept] = self.reasons.index(reason)

    def drop_unlike(self, qualities: Window) -> None:
        """By split, mode, format and quality."""
        columns, fake = self.access.columns, self.fake
        quality = columns.numbers("jpeg_quality")[0][self.rows]
        self.drop(~np.isin(self.split, self.split[fake]), "of a split without fakes here")
        self.drop(~self._among("mode", "RGB", "RGBA"), "gray, CMYK or with a palette")
        self.drop(fake & ~self._among("format", *_LOSSLESS), "a fake that is not lossless")
        self.drop(~fake & ~self._among("format", "jpeg"), "a real that is no JPEG")
        self.drop(~fake & ~((quality >= 1) & (quality <= 100)), "no known JPEG quality")
        if "chroma" in columns.names:
            self.drop(~fake & ~self._among("chroma", *CHROMAS), "unusual JPEG chroma")
        self.drop(~fake & ~qualities.holds(quality), "JPEG quality outside of the window")

    def drop_sizes(self, window: Window) -> Window:
        """Drop what is outside of the window; returns it with a lowest side."""
        width, height = (column[self.rows] for column in self.access.columns.numbers("width", "height"))
        shorter, longer = np.minimum(width, height), np.maximum(width, height)
        self.drop(~Window(None, window.highest).holds(longer), "size outside of the window")
        if window.lowest is None:
            parts = [self.kept & ~self.fake]
            parts += [self.kept & self.fake & (self.generator == generator) for generator, _ in self.groups]
            found = [int(np.quantile(shorter[part], _MOST_LEFT_OUT, method="lower")) for part in parts if part.any()]
            window = Window(max(_SMALLEST, min(found, default=_SMALLEST)), window.highest)
        self.drop(~Window(window.lowest, None).holds(shorter), "size outside of the window")
        return window

    def drop_copies(self) -> None:
        """All but the first of reals with the same bytes, which several subsets may have."""
        left = np.flatnonzero(self.kept & ~self.fake)
        first = np.unique(self.access.columns.hashes()[self.rows[left]], return_index=True)[1]
        copies = np.zeros(len(self.rows), bool)
        copies[left] = True
        copies[left[first]] = False
        self.drop(copies, "a copy of another real")

    def match(self) -> None:
        """As many reals as fakes of each split, and class."""
        (classes,) = self.access.columns.numbers("class_index")
        classes = classes[self.rows]
        if self.per_class:
            self.drop(classes < 0, "class not known (per_class=False does without)")
        left = np.flatnonzero(self.kept)
        group = self.split[left].astype(np.int64) * 1001 + (classes[left] + 1 if self.per_class else 0)
        group = np.unique(group, return_inverse=True)[1].reshape(-1)
        part = 2 * group + self.fake[left]
        counts = np.bincount(part, minlength=2 * (int(np.max(group, initial=-1)) + 1))
        place = np.empty(len(left), np.int64)  # of each within its part, by chance
        order = np.lexsort([turns_of(self.access, self.seed)[self.rows[left]], part])
        place[order] = np.arange(len(left)) - (np.cumsum(counts) - counts)[part[order]]
        most = counts.reshape(-1, 2).min(axis=1)[group]
        alone, surplus = np.zeros((2, len(self.rows)), bool)
        alone[left], surplus[left] = most == 0, place >= most
        what = "class" if self.per_class else "split"
        self.drop(alone, f"no image of the other label in its {what}")
        self.drop(surplus, f"more than of the other label in its {what}")

    def need_all_groups(self) -> None:
        parts = [  # reals first: where none is left, that is why no fake is
            (f"real of {self.splits[s]}", ~self.fake & (self.split == s))
            for s in dict.fromkeys(s for _, s in self.groups)
        ]
        parts += [
            (f"fake of {self.generators[g]}, {self.splits[s]}", self.fake & (self.generator == g) & (self.split == s))
            for g, s in self.groups
        ]
        for name, part in parts:
            if not (self.kept & part).any():
                why = "; ".join(f"{n:,} {reason}" for reason, n in self._dropped(part).items())
                do = "choose other windows" if why else "give reals_from="
                raise ValueError(f"unbiased: no {name} is left ({why or 'there are none'}): {do}")

    def counts(self) -> dict[str, Any]:
        """Images kept, and dropped by reason, by label and by group."""
        sides = ((REAL, ~self.fake), (FAKE, self.fake))
        groups = []
        for g, s in np.unique([self.generator, self.split], axis=1).T.tolist():
            for label, side in sides:
                part = side & (self.generator == g) & (self.split == s)
                if part.any():
                    about = {"generator": self.generators[g], "split": self.splits[s], "label": label}
                    groups.append({**about, "kept": int((self.kept & part).sum()), "dropped": self._dropped(part)})
        return {
            "kept": {label: int((self.kept & side).sum()) for label, side in sides},
            "dropped": {label: self._dropped(side) for label, side in sides},
            "groups": groups,
        }

    def _among(self, column: str, *names: str) -> Mask:
        codes, values = self.access.columns.words(column)
        return np.isin(codes[self.rows], [values.index(name) for name in names if name in values])

    def _dropped(self, part: Mask) -> dict[str, int]:
        """Of the candidates of a part those that were dropped, by reason."""
        found = np.bincount(self.reason[part], minlength=len(self.reasons)).tolist()
        return {reason: n for reason, n in zip(self.reasons[1:], found[1:], strict=True) if n}


def _window(name: str, given: Any, *, one_is_all: bool) -> Window:
    """`size=` or `quality=`. Raises ValueError for what is no window."""
    ends = given if isinstance(given, (tuple, list)) else (given, given if one_is_all else None)
    if len(ends) != 2:
        raise WrongKindError(f"{name}={given!r}: (lowest, highest) is needed, None for an open end")
    least = 1 if one_is_all else _SMALLEST
    most = 100 if one_is_all else None
    lowest, highest = (None if end is None else whole(name, end, least, highest=most) for end in ends)
    if lowest is not None and highest is not None and lowest > highest:
        raise ValueError(f"{name}=({lowest}, {highest}): the lowest comes first")
    return Window(lowest, highest)


def _again(make: Any, arguments: tuple[Any, ...], report: dict[str, Any]) -> Unbiased:
    return Unbiased(make(*arguments).access, report)
