"""NVIDIA DALI on the CPU with its own resize, blur and JPEG, whose pixels are others; the rest as in peers/dali.py.

As its documentation has them: resize_shorter with antialiasing (its default), random degradations by conditional
execution, and for a random resized crop the fused decoder, which decodes no more than the window needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.peers import Work, dali

TITLE = "DALI, CPU"
PACKAGES = dali.PACKAGES
REQUIREMENTS: tuple[str, ...] = ()


def place() -> dict[str, Any]:
    from nvidia.dali import fn

    return {"crop_pos_x": fn.random.uniform(range=(0, 1)), "crop_pos_y": fn.random.uniform(range=(0, 1))}


def resized(encoded: Any, work: Work) -> tuple[Any, dict[str, Any]]:
    """The short side to 256 pixels, then a random crop."""
    from nvidia.dali import fn, types

    images = fn.decoders.image(encoded, device="cpu", output_type=types.RGB)
    return fn.resize(images, resize_shorter=256), place()


def degraded(encoded: Any, work: Work) -> tuple[Any, dict[str, Any]]:
    """CNNSpot's with probability one half each: blur of sigma 0 to 3, JPEG of quality 30 to 100."""
    from nvidia.dali import fn, types

    images = fn.decoders.image(encoded, device="cpu", output_type=types.RGB)
    images = fn.resize(images, resize_shorter=256)
    if fn.random.coin_flip(dtype=types.BOOL):
        images = fn.gaussian_blur(images, sigma=fn.random.uniform(range=(0.01, 3)))
    if fn.random.coin_flip(dtype=types.BOOL):
        quality = fn.cast(fn.random.uniform(range=(30, 101)), dtype=types.INT32)
        images = fn.jpeg_compression_distortion(images, quality=quality)
    return images, place()


def random_resized_crop(encoded: Any, work: Work) -> tuple[Any, dict[str, Any]]:
    from nvidia.dali import fn, types

    images = fn.decoders.image_random_crop(
        encoded,
        device="cpu",
        output_type=types.RGB,
        random_area=[0.08, 1.0],
        random_aspect_ratio=[3 / 4, 4 / 3],
        num_attempts=10,
    )
    return fn.resize(images, size=(224, 224)), {"crop_pos_x": 0.0, "crop_pos_y": 0.0}


STEPS = {"cnnspot": degraded, "resize": resized, "random-resized-crop": random_resized_crop}


def open_stream(work: Work) -> Callable[[], Iterator[tuple[Any, Any]]]:
    return dali.open_stream(work, STEPS[work.transform], conditionals=work.transform == "cnnspot")
