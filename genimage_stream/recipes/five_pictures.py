"""AIDE's input: the four patches of an image that its DCT grades choose, and the image, as a function for `T.Map`."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from genimage_stream.recipes.hooks import needs
from genimage_stream.transforms.step import Image

PATCH, STRIDE, SIDE = 32, 16, 256
BANDS = 6  # of frequency, each twice as heavy as the one below

Floats = npt.NDArray[np.float32]


@cache
def _tables() -> tuple[Floats, Floats]:
    """The matrix of the orthonormal DCT, and the weight of each coefficient in a grade: (32, 32) each."""
    place = np.arange(PATCH)
    rows = np.cos((place + 0.5) * np.pi * place[:, None] / PATCH) * np.sqrt(2 / PATCH)
    rows[0] = np.sqrt(1 / PATCH)
    frequency = place + place[:, None]
    weights = np.zeros((PATCH, PATCH))
    for band in range(BANDS):  # a coefficient on a border belongs to both
        ends = 2 * PATCH / BANDS * band, 2 * PATCH / BANDS * (band + 1)
        inside = (frequency >= ends[0]) & (frequency <= ends[1])
        weights[inside] += 2**band / inside.sum()
    return rows.astype(np.float32), weights.astype(np.float32)


def _grades(image: Image) -> tuple[Floats, int]:
    """Of the patches row by row, and how many are in a row: log magnitudes of the coefficients of values in 0..1."""
    matrix, weights = _tables()
    view: Any = np.lib.stride_tricks.sliding_window_view  # numpy 2.2 has no types for several axes
    windows: Image = view(image, (PATCH, PATCH), axis=(0, 1))[::STRIDE, ::STRIDE]
    grades = []
    for row in windows:  # one row of patches at a time: 4 kB a value would be much for a whole image
        values = row.astype(np.float32) / np.float32(255)
        grades.append((np.log1p(np.abs(matrix @ values @ matrix.T)).sum(1) * weights).sum((1, 2)))
    return np.concatenate(grades), windows.shape[1]


def _resized(image: Image) -> Image:
    """As torchvision resizes float tensors (bilinear, antialiased), then rounded: (256, 256, 3)."""
    import torch

    values: Any = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float()
    values = torch.nn.functional.interpolate(values, (SIDE, SIDE), mode="bilinear", antialias=True)
    return np.asarray(values[0].round_().clamp_(0, 255).byte().permute(1, 2, 0).numpy())


@needs("torch")
def five_pictures(image: Image, rng: np.random.Generator) -> Image:
    """One above the other: the patch of the lowest grade, of the highest, of the second lowest, of the second highest,
    and the image, each 256x256: uint8 (1280, 256, 3). Raises ValueError for an image that is smaller than a patch."""
    height, width = image.shape[:2]
    if min(height, width) < PATCH:
        raise ValueError(f"an image of {width}x{height} has no patch of {PATCH}x{PATCH}")
    grades, across = _grades(image)
    order = np.argsort(grades, kind="stable")
    second = min(1, len(order) - 1)
    pictures = []
    for which in (order[0], order[-1], order[second], order[-1 - second]):
        y, x = (STRIDE * int(place) for place in divmod(which, across))
        pictures.append(_resized(image[y : y + PATCH, x : x + PATCH]))
    return np.concatenate([*pictures, _resized(image)])
