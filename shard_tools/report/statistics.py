"""What is in the shards, counted from the index alone: NumPy over whole columns, no shard is read.

Columns are int64 arrays of one row per sample; for 2.68 million samples they take about 200 MB together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from genimage_stream import vocabulary
from genimage_stream.vocabulary import FAKE, LABELS, SPLITS

if TYPE_CHECKING:
    from genimage_stream.dataset.dataset import Dataset

Column = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Words:
    """A column of repeated strings: `codes` (n,) are places in `names`, -1 where the index holds none."""

    codes: npt.NDArray[np.int32]
    names: list[str]

    def counts(self, keep: Mask) -> list[tuple[str, int]]:
        """(name, samples) among the rows kept, most frequent first; those without a name under "not known"."""
        found = np.bincount(self.codes[keep] + 1, minlength=len(self.names) + 1)
        named = [("not known", int(found[0])), *zip(self.names, map(int, found[1:]), strict=True)]
        return sorted(((name, count) for name, count in named if count), key=lambda pair: (-pair[1], pair[0]))


class Samples:
    """The columns of a dataset that the report is made from. Raises ValueError for a label other than real and fake."""

    def __init__(self, dataset: Dataset) -> None:
        access = dataset.access
        columns = access.columns
        self.count = len(dataset)
        words = {name: columns.words(name) for name in ("generator", "split", "format", "mode")}
        self.generator, self.split, self.format, self.mode = (
            Words(access.take(codes), names) for codes, names in words.values()
        )
        self.shards = len(columns.words("shard")[1])
        numbers: list[Column] = [
            access.take(column) for column in columns.numbers("width", "height", "size", "jpeg_quality")
        ]
        self.width, self.height, self.size_bytes, self.jpeg_quality = numbers  # a missing quality is -1
        self.fake: Mask = access.take(access.targets()[0] == LABELS.index(FAKE))

    @classmethod
    def joined(cls, parts: Sequence[Samples]) -> Samples:
        """Those of several selections of one dataset."""
        joined = copy(parts[0])
        for name in ("half", "pixels", "bytes_per_pixel"):
            joined.__dict__.pop(name, None)  # computed for that part
        joined.count = sum(part.count for part in parts)
        for name in ("generator", "split", "format", "mode"):
            codes = np.concatenate([getattr(part, name).codes for part in parts])
            setattr(joined, name, Words(codes, getattr(parts[0], name).names))
        for name in ("width", "height", "size_bytes", "jpeg_quality", "fake"):
            setattr(joined, name, np.concatenate([getattr(part, name) for part in parts]))
        return joined

    @cached_property
    def pixels(self) -> Column:
        return self.width * self.height

    @cached_property
    def bytes_per_pixel(self) -> npt.NDArray[np.float64]:
        found: npt.NDArray[np.float64] = self.size_bytes / np.maximum(self.pixels, 1)
        return found

    @cached_property
    def half(self) -> npt.NDArray[np.int8]:
        """0 or 1 by chance (a fixed one), each for half of every generator's reals and half of its fakes."""
        shuffled = np.random.Generator(np.random.Philox(0)).permutation(self.count)
        group = (self.generator.codes.astype(np.int64) * 2 + self.fake)[shuffled]
        order = np.argsort(group, kind="stable")
        sizes = np.bincount(group)
        within = np.arange(self.count) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        half = np.empty(self.count, np.int8)
        half[shuffled[order]] = within & 1
        return half

    @property
    def generators(self) -> list[str]:
        """Those of the vocabulary in its order, then others by name; a pool of reals last."""
        known = {name: place for place, name in enumerate(vocabulary.GENERATORS)}
        return sorted(self.generator.names, key=lambda name: (name == vocabulary.REAL_POOL, known.get(name, 99), name))

    def of(self, generator: str) -> Mask:
        """The rows of one generator's subset."""
        rows: Mask = self.generator.codes == self.generator.names.index(generator)
        return rows

    def of_label(self, label: str) -> Mask:
        return self.fake if label == FAKE else ~self.fake

    def counts(self) -> dict[tuple[str, str, str], int]:
        """Samples per (generator, split, label), those there are."""
        generators, splits = self.generator.names, self.split.names
        flat = (self.generator.codes.astype(np.int64) * len(splits) + self.split.codes) * 2 + self.fake
        found = np.bincount(flat, minlength=len(generators) * len(splits) * 2).reshape(len(generators), len(splits), 2)
        return {(generators[g], splits[s], LABELS[k]): int(found[g, s, k]) for g, s, k in np.argwhere(found).tolist()}


@dataclass(frozen=True)
class Part:
    """One generator's split: what is packed, published (None: not listed) and quarantined; (real, fake) each."""

    generator: str
    split: str
    packed: tuple[int, int]
    published: tuple[int, int] | None
    quarantined: tuple[int, int]

    @property
    def missing(self) -> int:
        """Published images that are neither packed nor quarantined; 0 when there are more than published."""
        if self.published is None:
            return 0
        return sum(max(0, p - k - q) for p, k, q in zip(self.published, self.packed, self.quarantined, strict=True))


def composition(samples: Samples, quarantine: list[dict[str, str | None]]) -> list[Part]:
    """A Part per generator and split that has samples or quarantined files, or should have by the published counts."""
    packed = samples.counts()
    bad: dict[tuple[str, str, str], int] = {}
    for row in quarantine:
        key = (row["generator"] or "", row["split"] or "", row["label"] or "")
        bad[key] = bad.get(key, 0) + 1
    parts = []
    named = samples.generators
    named += sorted({generator for generator, _, _ in bad if generator} - set(named))
    for generator in named:
        published = vocabulary.PUBLISHED.get(generator)
        others = {split for g, split, _ in (*packed, *bad) if g == generator}
        for split in [*SPLITS, *sorted(others - set(SPLITS))]:
            listed = published is not None and split in SPLITS
            if split in others or listed:
                have, lost = ({label: n.get((generator, split, label), 0) for label in LABELS} for n in (packed, bad))
                wanted = None
                if published is not None and listed:
                    wanted = published.of(split, LABELS[0]), published.of(split, LABELS[1])
                parts.append(Part(generator, split, _pair(have.__getitem__), wanted, _pair(lost.__getitem__)))
    return parts


def _pair(count_of: Callable[[str], int]) -> tuple[int, int]:
    """(real, fake)"""
    return count_of(LABELS[0]), count_of(LABELS[1])


def common_sizes(samples: Samples, keep: Mask, count: int = 10) -> tuple[list[tuple[int, int, int]], int]:
    """The most common (width, height, samples) among the rows kept, and how many different sizes there are."""
    joined = samples.width[keep] << 32 | samples.height[keep]
    sizes, found = np.unique(joined, return_counts=True)
    order = np.lexsort((sizes, -found))[:count]
    return [(int(sizes[i] >> 32), int(sizes[i] & 0xFFFFFFFF), int(found[i])) for i in order], len(sizes)


def size_edges(samples: Samples, bins: int = 44) -> npt.NDArray[np.float64]:
    """Edges of logarithmic bins, powers of two at both ends, that hold every width and height."""
    sides = [int(np.min(side, initial=1 << 20)) for side in (samples.width, samples.height)]
    largest = max(int(np.max(side, initial=1)) for side in (samples.width, samples.height))
    low, high = np.floor(np.log2(max(1, min(sides)))), np.ceil(np.log2(largest + 1))
    return np.exp2(np.linspace(low, max(high, low + 1), bins + 1))


def size_map(samples: Samples, keep: Mask, edges: npt.NDArray[np.float64]) -> Column:
    """Samples per bin of (width, height): (bins, bins) int64."""
    bins = len(edges) - 1
    x, y = (
        np.clip(np.searchsorted(edges, side[keep], side="right") - 1, 0, bins - 1)
        for side in (samples.width, samples.height)
    )
    return np.bincount(x * bins + y, minlength=bins * bins).reshape(bins, bins)


def shares(values: npt.NDArray[np.float64] | Column, edges: npt.NDArray[np.float64]) -> list[float]:
    """The share of the values in each bin; those outside count in the outermost ones. (bins,)"""
    bins = len(edges) - 1
    places = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, bins - 1)
    return [float(share) for share in np.bincount(places, minlength=bins) / max(1, len(values))]


def quantiles(values: npt.NDArray[np.float64] | Column) -> list[float]:
    """The values at QUANTILES; NaN when there are none."""
    return [float(q) for q in np.quantile(values, QUANTILES)] if len(values) else [float("nan")] * len(QUANTILES)
