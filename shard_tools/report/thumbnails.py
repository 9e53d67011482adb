"""A contact sheet: a few images of each generator, reals and fakes of the same classes, in native resolution.

A window in the middle of each image is shown pixel by pixel: shrinking would remove the traces that detectors look for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from genimage_stream import decode
from genimage_stream.page.picture import data_address, encode_png
from genimage_stream.page.scales import dimensions
from genimage_stream.vocabulary import LABELS, REAL, REAL_POOL, synsets
from shard_tools.finished import explained
from shard_tools.report.statistics import Column, Samples

if TYPE_CHECKING:
    from genimage_stream.dataset.dataset import Dataset

SIDE = 192  # pixels of the window, at most

MANY = 64  # generators; of more, a page shows pictures of a few
FEW = 6


@dataclass(frozen=True)
class Thumbnail:
    """One image of the sheet; `address` is a data address, empty when the image could not be read, for `reason`.

    `class_index` is -1 where the class is not known; `pair` numbers the real and the fake of a generator that belong
    together.
    """

    generator: str
    label: str
    key: str
    class_index: int
    pair: int
    description: str
    place: str
    address: str
    reason: str = ""

    @property
    def class_name(self) -> str:
        return f"class {self.class_index} ({synsets()[self.class_index]})" if self.class_index >= 0 else "class unknown"


def pictured(generators: Sequence[str]) -> list[str]:
    """The generators that a page shows pictures of: all, or a few that are evenly spread over thousands."""
    if len(generators) <= MANY:
        return list(generators)
    return [generators[at] for at in spread(np.arange(len(generators)), FEW)]


def spread(rows: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """`count` of the rows, or all of fewer, evenly spread: the same ones every time."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, num=min(count, len(rows))).astype(np.int64))]


def contact_sheet(dataset: Dataset, samples: Samples, each: int) -> list[Thumbnail]:
    """`each` images of every generator and label: of classes that both labels have, as far as there are any, then
    others spread over the index. One each of those `pictured` where these are not all."""
    (classes,) = dataset.access.columns.numbers("class_index")
    chosen: list[tuple[str, str, int, int]] = []
    generators = pictured(samples.generators)
    each = min(each, 1) if len(generators) < len(samples.generators) else each
    for generator in generators:
        mine = [np.flatnonzero(samples.of(generator) & samples.of_label(label)) for label in LABELS]
        if not len(mine[0]) and REAL_POOL in samples.generators and generator != REAL_POOL:
            mine[0] = np.flatnonzero(samples.of(REAL_POOL) & samples.of_label(REAL))
        both = [_chosen(own, others, classes, each) for own, others in (mine, mine[::-1])]
        for pair, rows in enumerate(zip(*both, strict=True)):
            chosen += [(generator, label, pair, int(row)) for label, row in zip(LABELS, rows, strict=True) if row >= 0]
    if not chosen:
        return []
    with explained():
        keys = dataset.access.columns.keys(np.array([row for *_, row in chosen], np.int64))
    return [_thumbnail(dataset, samples, classes, *one, key) for one, key in zip(chosen, keys, strict=True)]


def _chosen(
    own: npt.NDArray[np.int64], others: npt.NDArray[np.int64], classes: Column, each: int
) -> npt.NDArray[np.int64]:
    """(each,) rows of `own`: first one of each class that `others` have too, then any; -1 where there are no more."""
    common = np.intersect1d(classes[own], classes[others])
    wanted = spread(common[common >= 0], each)
    first = np.array([own[np.argmax(classes[own] == one)] for one in wanted], np.int64)
    rest = spread(np.setdiff1d(own, first), each - len(first)) if len(first) < each else first[:0]
    found = np.concatenate([first, rest])
    return np.concatenate([found, np.full(each - len(found), -1, np.int64)])


def _thumbnail(
    dataset: Dataset, samples: Samples, classes: Column, generator: str, label: str, pair: int, row: int, key: str
) -> Thumbnail:
    width, height = int(samples.width[row]), int(samples.height[row])
    form = samples.format.names[samples.format.codes[row]] if samples.format.codes[row] >= 0 else "image"
    quality = int(samples.jpeg_quality[row])
    about = f"{dimensions(width, height)} {form}{f', quality {quality}' if quality >= 0 else ''}"
    codes, shards = dataset.access.shards()
    known = (generator, label, key, int(classes[row]), pair, about, shards[codes[row]])
    try:
        pixels = decode(dataset.access.read(row))
    except (OSError, ValueError) as error:  # a DecodeError is a ValueError
        return Thumbnail(*known, "", str(error))
    return Thumbnail(*known, data_address(encode_png(middle(pixels, SIDE))))


def middle(pixels: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """The middle of an image, (height, width, 3), at most `side` pixels wide and high."""
    top, left = (max(0, edge - side) // 2 for edge in pixels.shape[:2])
    return pixels[top : top + side, left : left + side]
