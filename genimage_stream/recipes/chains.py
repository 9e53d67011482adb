"""Community Forensics' random chain of operations, which a list of steps cannot say, as a function for `T.Map`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from genimage_stream import transforms as T  # noqa: N812
from genimage_stream.recipes.hooks import needs
from genimage_stream.transforms.step import Image, Size

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

SIDE = 224
FILTERS = ("nearest", "bilinear", "bicubic", "lanczos", "hamming", "box")


def _step(image: Image, rng: np.random.Generator, step: T.Step) -> Image:
    """One of our steps, whose draws come from `rng`."""
    return T.apply(image, [step], seed=int(rng.integers(1 << 63)), sha256=bytes(8))


def _jpeg(image: Image, rng: np.random.Generator) -> Image:
    return _step(image, rng, T.JPEG((75, 100)))


def _resize(image: Image, rng: np.random.Generator) -> Image:
    side = int(rng.integers(SIDE + 1, round(SIDE * 1.228) + 1))
    return _step(image, rng, T.RandomChoice([T.Resize(side), T.Resize(side, "bicubic")]))


def _crop(image: Image, rng: np.random.Generator) -> Image:
    return _step(image, rng, T.RandomCrop(SIDE))


def _flip(image: Image, rng: np.random.Generator) -> Image:
    return _step(image, rng, T.RandomHorizontalFlip())


def _flip_down(image: Image, rng: np.random.Generator) -> Image:
    return _step(image, rng, T.RandomVerticalFlip())


def _crop_and_resize(image: Image, rng: np.random.Generator) -> Image:
    crops = [T.RandomResizedCrop(SIDE, (0.9, 1.0), filter=name) for name in FILTERS]  # type: ignore[arg-type]
    return _step(image, rng, T.RandomChoice(crops))


def _picture(image: Image) -> Picture:
    import PIL.Image

    return PIL.Image.fromarray(image)


def _rotate(image: Image, rng: np.random.Generator) -> Image:
    return np.asarray(_picture(image).rotate(rng.uniform(-15, 15), resample=2))  # type: ignore[arg-type]  # bilinear


def _affine(image: Image, rng: np.random.Generator, step: T.RandomAffine) -> Image:
    """As `step`, with bilinear interpolation."""
    picture = _picture(image)
    draw = T.draws_of(image, [step], seed=int(rng.integers(1 << 63)), sha256=bytes(8))[0]
    matrix = step.matrix(draw, Size(*picture.size))
    return np.asarray(picture.transform(picture.size, 0, matrix, resample=2))  # type: ignore[arg-type]  # 0: affine


def _translate(image: Image, rng: np.random.Generator) -> Image:
    return _affine(image, rng, T.RandomAffine(0, translate=(0.1, 0.1)))


def _shear(image: Image, rng: np.random.Generator) -> Image:
    return _affine(image, rng, T.RandomAffine(0, shear=(-15, 15, -15, 15)))


def _pad(image: Image, rng: np.random.Generator) -> Image:
    """Up to a twentieth of a side at each end, in one gray; then resized to (width, height) for (height, width), as the
    published code does."""
    height, width = image.shape[:2]
    left, right, top, bottom = (int(rng.uniform(0, 0.05) * side) for side in (width, width, height, height))
    padded = np.full((height + top + bottom, width + left + right, 3), rng.integers(256), np.uint8)
    padded[top : top + height, left : left + width] = image
    return _step(padded, rng, T.Resize((width, height)))


def _cutout(image: Image, rng: np.random.Generator) -> Image:
    return _step(image, rng, T.RandomErasing(0.5, (0.02, 0.06), (0.3, 3.3), int(rng.integers(256))))


OPERATIONS: tuple[Callable[[Image, np.random.Generator], Image], ...] = (
    _jpeg,
    _resize,
    _crop,
    _flip,
    _flip_down,
    _crop_and_resize,
    _rotate,
    _translate,
    _shear,
    _pad,
    _cutout,
)


@needs("PIL")
def community_forensics(image: Image, rng: np.random.Generator) -> Image:
    """Each operation none to two times, all in random order, then a random crop: uint8 (224, 224, 3)."""
    left = [operation for operation in OPERATIONS for _ in range(int(rng.integers(3)))]
    while left:
        image = left.pop(int(rng.integers(len(left))))(image, rng)
    return _crop(image, rng)
