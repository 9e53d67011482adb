"""A contact sheet: a few images of each generator and label, read from the shards, decoded, shrunk, embedded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from genimage_stream import decode
from genimage_stream.page.picture import data_address, encode_png, shrink
from genimage_stream.page.scales import dimensions
from genimage_stream.vocabulary import LABELS
from shard_tools.report.statistics import Samples

if TYPE_CHECKING:
    from genimage_stream.dataset.dataset import Dataset

SIDE = 104  # pixels of the longer edge


@dataclass(frozen=True)
class Thumbnail:
    """One image of the sheet; `address` is a data address, empty when the image could not be read, for `reason`."""

    generator: str
    label: str
    key: str
    description: str
    address: str
    reason: str = ""


def contact_sheet(dataset: Dataset, samples: Samples, each: int) -> list[Thumbnail]:
    """`each` images of every generator and label, evenly spread over the index: the same ones every time."""
    chosen: list[tuple[str, str, int]] = []
    for generator in samples.generators:
        mine = samples.of(generator)
        for label in LABELS:
            rows = np.flatnonzero(mine & samples.of_label(label))
            places = np.unique(np.linspace(0, len(rows) - 1, num=min(each, len(rows))).astype(np.int64))
            chosen += [(generator, label, int(row)) for row in rows[places]]
    if not chosen:
        return []
    keys = dataset.access.columns.keys(np.array([row for _, _, row in chosen], np.int64))
    return [_thumbnail(dataset, samples, *one, key) for one, key in zip(chosen, keys, strict=True)]


def _thumbnail(dataset: Dataset, samples: Samples, generator: str, label: str, row: int, key: str) -> Thumbnail:
    width, height = int(samples.width[row]), int(samples.height[row])
    form = samples.format.names[samples.format.codes[row]] if samples.format.codes[row] >= 0 else "image"
    about = f"{dimensions(width, height)} {form}"
    try:
        pixels = decode(read_sample(dataset, row))
    except (OSError, ValueError) as error:  # a DecodeError is a ValueError
        return Thumbnail(generator, label, key, about, "", str(error))
    return Thumbnail(generator, label, key, about, data_address(encode_png(shrink(pixels, SIDE))))


def read_sample(dataset: Dataset, row: int) -> bytes:
    """The bytes of one stored image. Raises OSError when the shard is missing or too short."""
    access = dataset.access
    codes, shards = access.shards()
    offset, size = (int(column[row]) for column in access.columns.numbers("offset", "size"))
    return access.store.read_range(shards[codes[row]], offset, size)
