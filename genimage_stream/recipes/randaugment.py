"""timm's RandAugment, policy rand-m9-mstd0.5-inc1, by Pillow, as functions for `T.Map`.

Two of fifteen operations, drawn with replacement; each is applied with probability 0.5, at a magnitude from a normal
distribution about 9 of 10 with deviation 0.5. Facts are timm 0.6.12's; the draws come from the sample's generator.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from genimage_stream.recipes.hooks import needs
from genimage_stream.transforms.step import Image

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

#: ImageNet's mean in levels, which comes in from outside.
FILL = (124, 116, 104)
_BILINEAR, _BICUBIC = 2, 3  # Pillow's numbers
#: An operation on a picture, for a magnitude of 0..10, a random sign and a filter.
Operation = Callable[["Picture", float, float, int], "Picture"]


def _shift(picture: Picture, matrix: tuple[float, ...], resample: int) -> Picture:
    import PIL.Image

    return picture.transform(picture.size, PIL.Image.Transform.AFFINE, matrix, resample=resample, fillcolor=FILL)


def _by_table(picture: Picture, change: Callable[[int], int]) -> Picture:
    return picture.point([change(level) for level in range(256)] * 3)


def _enhance(name: str) -> Operation:
    def apply(picture: Picture, level: float, sign: float, resample: int) -> Picture:
        from PIL import ImageEnhance

        enhanced: Picture = getattr(ImageEnhance, name)(picture).enhance(max(0.1, 1.0 + sign * level / 10 * 0.9))
        return enhanced

    return apply


def _plain(name: str) -> Operation:
    def apply(picture: Picture, level: float, sign: float, resample: int) -> Picture:
        from PIL import ImageOps

        changed: Picture = getattr(ImageOps, name)(picture)
        return changed

    return apply


def _rotate(picture: Picture, level: float, sign: float, resample: int) -> Picture:
    return picture.rotate(sign * level / 10 * 30, resample=resample, fillcolor=FILL)  # type: ignore[arg-type]


def _posterize(picture: Picture, level: float, sign: float, resample: int) -> Picture:
    kept = 0xFF & -(1 << 8 - (4 - int(level / 10 * 4)))  # of 8 bits; at level 10 none, which ImageOps.posterize refuses
    return _by_table(picture, lambda value: value & kept)


def _solarize(picture: Picture, level: float, sign: float, resample: int) -> Picture:
    from PIL import ImageOps

    return ImageOps.solarize(picture, 256 - min(256, int(level / 10 * 256)))


def _solarize_add(picture: Picture, level: float, sign: float, resample: int) -> Picture:
    added = min(128, int(level / 10 * 110))
    return _by_table(picture, lambda value: min(255, value + added) if value < 128 else value)


def _shear_x(picture: Picture, level: float, sign: float, resample: int) -> Picture:
    return _shift(picture, (1, sign * level / 10 * 0.3, 0, 0, 1, 0), resample)


def _shear_y(picture: Picture, level: float, sign: float, resample: int) -> Picture:
    return _shift(picture, (1, 0, 0, sign * level / 10 * 0.3, 1, 0), resample)


def _translate_x(picture: Picture, level: float, sign: float, resample: int) -> Picture:
    return _shift(picture, (1, 0, sign * level / 10 * 0.45 * picture.width, 0, 1, 0), resample)


def _translate_y(picture: Picture, level: float, sign: float, resample: int) -> Picture:
    return _shift(picture, (1, 0, 0, 0, 1, sign * level / 10 * 0.45 * picture.height), resample)


OPERATIONS: tuple[Operation, ...] = (
    _plain("autocontrast"),
    _plain("equalize"),
    _plain("invert"),
    _rotate,
    _posterize,
    _solarize,
    _solarize_add,
    _enhance("Color"),
    _enhance("Contrast"),
    _enhance("Brightness"),
    _enhance("Sharpness"),
    _shear_x,
    _shear_y,
    _translate_x,
    _translate_y,
)


def _augment(image: Image, rng: np.random.Generator, filters: tuple[int, ...]) -> Image:
    import PIL.Image

    picture = PIL.Image.fromarray(image)
    for which in rng.integers(len(OPERATIONS), size=2):
        if rng.random() > 0.5:
            continue
        level = float(np.clip(rng.normal(9, 0.5), 0, 10))
        sign = -1.0 if rng.random() > 0.5 else 1.0
        resample = filters[int(rng.integers(len(filters)))]
        picture = OPERATIONS[which](picture, level, sign, resample)
    return np.asarray(picture)


@needs("PIL")
def random_filter(image: Image, rng: np.random.Generator) -> Image:
    """With bilinear or bicubic interpolation at random, timm's default (GenImage's ResNet-50)."""
    return _augment(image, rng, (_BILINEAR, _BICUBIC))


@needs("PIL")
def bicubic(image: Image, rng: np.random.Generator) -> Image:
    """With bicubic interpolation (GenImage's Swin-T and DeiT-S)."""
    return _augment(image, rng, (_BICUBIC,))
