"""What albumentations and OpenCV do and C++ has no step for, as functions for `T.Map`.

Each call makes its albumentations transform anew and seeds it from the sample's generator: threads share nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from genimage_stream.transforms.step import Image

Function = TypeVar("Function", bound=Callable[..., Image])


def needs(package: str) -> Callable[[Function], Function]:
    """Marks a function with the package that it imports when it is called."""

    def mark(function: Function) -> Function:
        vars(function)["needs"] = package
        return function

    return mark


def _run(image: Image, rng: np.random.Generator, name: str, **arguments: Any) -> Image:
    """albumentations' transform of that name."""
    import albumentations

    made = [getattr(albumentations, name)(p=1.0, **arguments)]
    return np.asarray(albumentations.Compose(made, seed=int(rng.integers(1 << 32)))(image=image)["image"], np.uint8)


@needs("albumentations")
def fancy_pca(image: Image, rng: np.random.Generator) -> Image:
    """FancyPCA()."""
    return _run(image, rng, "FancyPCA")


@needs("albumentations")
def hue_saturation_value(image: Image, rng: np.random.Generator) -> Image:
    """HueSaturationValue()."""
    return _run(image, rng, "HueSaturationValue")


@needs("albumentations")
def shift_scale_rotate(image: Image, rng: np.random.Generator) -> Image:
    """DRCT's: ShiftScaleRotate(0.1, 0.2, 10), zeros from outside."""
    limits = {"shift_limit": (-0.1, 0.1), "scale_limit": (-0.2, 0.2), "rotate_limit": (-10, 10)}
    return _run(image, rng, "ShiftScaleRotate", border_mode=0, **limits)


@needs("albumentations")
def rotate_10(image: Image, rng: np.random.Generator) -> Image:
    """DeepfakeBench's: Rotate(10), mirrored at the edges (BORDER_REFLECT_101)."""
    return _run(image, rng, "Rotate", limit=(-10, 10), border_mode=4)


@needs("albumentations")
def rotate_90_inside(image: Image, rng: np.random.Generator) -> Image:
    """SPAI's: Rotate(90, crop_border=True), resized back by OpenCV's linear interpolation."""
    import cv2

    height, width = image.shape[:2]
    turned = _run(image, rng, "Rotate", limit=(-90, 90), crop_border=True)
    return np.asarray(cv2.resize(turned, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


@needs("cv2")
def cubic_256(image: Image, rng: np.random.Generator) -> Image:
    """DeepfakeBench's first step: cv2.resize to 256x256 with INTER_CUBIC."""
    import cv2

    return np.asarray(cv2.resize(image, (256, 256), interpolation=cv2.INTER_CUBIC), np.uint8)


def pepper(image: Image, rng: np.random.Generator) -> Image:
    """DDA's: 1 to 10 % of the pixels, some of them drawn twice, become black."""
    height, width = image.shape[:2]
    count = int(height * width * rng.uniform(0.01, 0.10))
    found = np.array(image)
    found[rng.integers(0, height, count), rng.integers(0, width, count)] = 0
    return found


@needs("cv2")
def median_3(image: Image, rng: np.random.Generator) -> Image:
    """cv2.medianBlur of 3x3."""
    import cv2

    return np.asarray(cv2.medianBlur(image, 3), np.uint8)


@needs("cv2")
def motion_5(image: Image, rng: np.random.Generator) -> Image:
    """DDA's motion blur: the mean along a line of 5 pixels at a random angle (cv2.filter2D)."""
    import cv2

    angle = np.deg2rad(rng.uniform(0, 180))
    offsets = np.arange(-2, 3)
    kernel = np.zeros((5, 5))
    kernel[2 + np.round(offsets * np.sin(angle)).astype(int), 2 + np.round(offsets * np.cos(angle)).astype(int)] = 1
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), np.uint8)


@needs("cv2")
def sharpen(image: Image, rng: np.random.Generator) -> Image:
    """DDA's: 1 to 3 times the difference from a blur of sigma 3 is added, and the sum truncated."""
    import cv2

    values = image.astype(np.float32)
    sharpened = values + rng.uniform(1, 3) * (values - cv2.GaussianBlur(values, (0, 0), 3.0))
    return np.asarray(np.clip(sharpened, 0, 255).astype(np.uint8))


def grid_dropout(image: Image, rng: np.random.Generator) -> Image:
    """albumentations 1's GridDropout(), which draws nothing: black squares of half a cell, ten cells to a side."""
    found = np.array(image)
    cell_height, cell_width = (max(2, side // 10) for side in image.shape[:2])
    for top in range(0, image.shape[0], cell_height):
        for left in range(0, image.shape[1], cell_width):
            found[top : top + max(cell_height // 2, 1), left : left + max(cell_width // 2, 1)] = 0
    return found
