"""What the shortcuts are worth before and after `gs.unbiased`: of what a detector sees, file facts and traces of JPEG.

Each generator is taken by itself, as detectors are trained: its fakes and its reals before; after, what `gs.unbiased`
makes of its fakes with reals from all subsets, by its default window of sizes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from genimage_stream.dataset.dataset import Dataset
from genimage_stream.dataset.unbiased import unbiased
from genimage_stream.transforms.apply import apply, draws_for
from genimage_stream.transforms.chance import Chance, identity_of
from genimage_stream.transforms.geometry import RandomCrop
from genimage_stream.transforms.step import Size
from genimage_stream.vocabulary import FAKE, LABELS, REAL, REAL_POOL
from shard_tools.report.features import FEATURES, Feature
from shard_tools.report.shortcuts import code, measure
from shard_tools.report.statistics import Column, Samples, Words
from shard_tools.report.traces import NO_BLOCKS, block_start

EVERYTHING = "all together"
MOST_LOOKED_AT = 24  # images of each label and generator, in which traces are looked for
_WINDOW = 96  # pixels of a side that traces are looked for in, at most
_ABOUT = ("label", "generator", "split", "sha256")
_MOST_FACTS = 2000  # images of each label and generator whose facts are counted


@dataclass(frozen=True)
class Unbiasing:
    """Balanced accuracies of the best shortcut, (before, after); NaN where nothing can be said, for `reason`.

    `kept`: reals, and fakes, that `gs.unbiased` left, of windows of `crop` pixels (0: several); `looked_at`: images of
    each label in which traces were looked for.
    """

    generator: str
    kept: tuple[int, int] = (0, 0)
    crop: int = 0
    looked_at: int = 0
    facts: tuple[float, float] = (float("nan"), float("nan"))
    traces: tuple[float, float] = (float("nan"), float("nan"))
    reason: str = ""


@dataclass(frozen=True)
class _Side:
    """Before, or after: the facts of images, and of some of them (`seen`) what their pixels show."""

    facts: Samples
    seen: Samples
    blocks: Column  # (seen.count,) where blocks begin

    @classmethod
    def joined(cls, sides: list[_Side]) -> _Side:
        blocks = np.concatenate([side.blocks for side in sides])
        return cls(
            Samples.joined([side.facts for side in sides]), Samples.joined([side.seen for side in sides]), blocks
        )

    def scores(self) -> tuple[float, float]:
        """Accuracies of the best fact, and of traces of JPEG."""
        facts = [measure(self.facts, code(self.facts, feature)).best for feature in FEATURES if feature.visible]
        return _best(facts), measure(self.seen, code(self.seen, self._traces())).best

    def _traces(self) -> Feature:
        return Feature(
            "JPEG blocks in the pixels",
            "Traces of compression stay after decoding.",
            "Compress all images as JPEG, and crop at random.",
            lambda _: (self.blocks != NO_BLOCKS).astype(np.int64),
            lambda _, value: "JPEG blocks" if value else "none",
            ordered=False,
        )


def unbiasing(dataset: Dataset, samples: Samples, images: int) -> list[Unbiasing]:
    """Each generator, and first all together; traces from up to `images` of each label and generator. Images that
    cannot be read are passed over."""
    found: list[Unbiasing] = []
    sides: tuple[list[_Side], list[_Side]] = ([], [])
    train = dataset.select(splits=["train"]) if "train" in samples.split.names else dataset
    for generator in samples.generators:
        if generator == REAL_POOL:
            continue
        mine = train.select(generators=[generator])
        try:
            after = unbiased(mine, reals_from=train)
        except ValueError as error:
            found.append(Unbiasing(generator, reason=str(error).removeprefix("unbiased: ").partition(": ")[0]))
            continue
        report = after.report()
        fakes, reals = (mine.select(labels=[label]) for label in (FAKE, REAL))
        before = mine if len(reals) else fakes | train.select(labels=[REAL]).sample(len(fakes))
        window = min(_WINDOW, int(report["crop"]))
        pair = tuple(_side(one, images, window) for one in (before, after))
        for many, side in zip(sides, pair, strict=True):
            many.append(side)
        (fact, trace), (fact_after, trace_after) = (side.scores() for side in pair)
        looked_at = min(int(side.seen.of_label(label).sum()) for side in pair for label in LABELS)
        kept = (report["kept"][REAL], report["kept"][FAKE])
        accuracies = ((fact, fact_after), (trace, trace_after))
        found.append(Unbiasing(generator, kept, report["crop"], looked_at, *accuracies))
    made = [one for one in found if not one.reason]
    if len(made) > 1:
        before_all, after_all = (_Side.joined(many).scores() for many in sides)
        kept = (sum(one.kept[0] for one in made), sum(one.kept[1] for one in made))
        looked_at = sum(one.looked_at for one in made)
        facts, traces = zip(before_all, after_all, strict=True)
        found.insert(0, Unbiasing(EVERYTHING, kept, 0, looked_at, facts, traces))
    return found


def _side(dataset: Dataset, images: int, window: int) -> _Side:
    some = dataset.sample(images, per=("label",))
    facts = dataset.sample(_MOST_FACTS, per=("label",))
    about = some.table(_ABOUT).to_pylist()
    blocks = [_blocks(some, row, one, window) for row, one in zip(some.index_rows.tolist(), about, strict=True)]
    read = np.array([one is not None for one in blocks], bool)
    seen = Dataset(some.access.with_rows(some.index_rows[read]))
    return _Side(as_loaded(facts), Samples(seen), np.array([one for one in blocks if one is not None], np.int64))


def as_loaded(dataset: Dataset) -> Samples:
    """The facts of a selection's images as a loader's steps make them: those of a dataset without steps are as the
    index has them."""
    samples = Samples(dataset)
    if not dataset.steps:
        return samples
    rows = dataset.table([*_ABOUT, "width", "height"]).to_pylist()
    sizes, qualities = np.empty((len(rows), 2), np.int64), samples.jpeg_quality.copy()
    for place, row in enumerate(rows):
        chance = Chance(0, 0, 0, identity_of(row["sha256"]))
        size = Size(row["width"], row["height"])
        about = (row["label"], row["generator"], row["split"])
        like_reals, _ = draws_for(dataset.steps, chance, size, *about)
        if like_reals["applied"]:
            qualities[place] = like_reals["inner"][0]["quality"]
        sizes[place] = next(iter(dataset.steps[-1].sizes_after(frozenset([size])) or ()))
    samples.width, samples.height, samples.jpeg_quality = sizes[:, 0], sizes[:, 1], qualities
    samples.format, samples.mode = (_only(samples, words, one) for words, one in (("format", "jpeg"), ("mode", "RGB")))
    return samples


def _only(samples: Samples, column: str, name: str) -> Words:
    words: Words = getattr(samples, column)
    names = words.names if name in words.names else [*words.names, name]
    return Words(np.full(samples.count, names.index(name), np.int32), names)


def _blocks(dataset: Dataset, row: int, about: dict[str, str], window: int) -> int | None:
    """Where JPEG blocks begin in a random window of an image, after the steps; None where it cannot be read."""
    try:
        pixels = apply(dataset.access.read(row), [*dataset.steps, RandomCrop(window, pad="tile")], **about)  # type: ignore[arg-type]
    except (OSError, ValueError):  # `shard-tools verify` names it
        return None
    return block_start(pixels)


def _best(accuracies: list[float]) -> float:
    known = [one for one in accuracies if not np.isnan(one)]
    return max(known, default=float("nan"))
