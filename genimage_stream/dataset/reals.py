"""The JPEG qualities of a selection's real images, which JPEG(quality="like reals") draws from."""

from __future__ import annotations

import warnings

import numpy as np

from genimage_stream.dataset.access import Access
from genimage_stream.transforms.degrade import Reals
from genimage_stream.vocabulary import REAL

CHROMAS = ("420", "422", "444")  # that can be written again


def qualities_of_reals(access: Access) -> Reals:
    """How many reals of the selection have each pair of quality and chroma, by split; sorted.

    Reals without a known quality, or of another chroma, are left out; a warning counts them. Another warning says that
    a dataset has no column `chroma`: then 4:2:0 is drawn. Raises ValueError when reals of a split are all left out.
    """
    columns = access.columns
    labels, label_names = columns.words("label")
    splits, split_names = columns.words("split")
    quality = access.take(columns.numbers("jpeg_quality")[0])
    real = access.take(np.array([name == REAL for name in label_names], bool)[labels])
    split = access.take(splits)
    names: list[str]
    if "chroma" in columns.names:
        codes, names = columns.words("chroma")
        chroma = access.take(codes)
    else:
        names, chroma = ["420"], np.zeros(len(real), np.int32)
        warnings.warn(
            'quality="like reals": the index has no column chroma, so JPEGs are written with 4:2:0; pack the dataset '
            "again for theirs",
            stacklevel=2,
        )
    writable = np.array([*(name in CHROMAS for name in names), False])[chroma]  # null is -1, the last
    known = real & (quality >= 1) & (quality <= 100) & writable
    for code in np.unique(split).tolist():
        if not known[split == code].any():
            raise ValueError(
                f'quality="like reals": no real image of split {split_names[code]!r} in the selection has a known JPEG '
                "quality; select reals along with the fakes"
            )
    if left := int(real.sum() - known.sum()):
        warnings.warn(
            f'quality="like reals": {left} of {int(real.sum())} real images have no known quality and chroma, and are '
            "left out of the qualities that are drawn",
            stacklevel=2,
        )
    found, counts = np.unique(np.stack([split, quality, chroma])[:, known], axis=1, return_counts=True)
    rows = zip(*found.tolist(), counts.tolist(), strict=True)
    return tuple(sorted((split_names[s], int(q), names[c], n) for s, q, c, n in rows))
