"""Checks of pixel options and crops: the only place that says which values the C++ core takes."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isfinite
from operator import index
from typing import Any, SupportsIndex

from genimage_stream.arguments import WrongKindError, whole

Crop = tuple[int, int, int, int]

LARGEST_WINDOW = 65535  # pixels per side: no JPEG is larger
MOST_THREADS = 1 << 16

_LARGEST = (1 << 31) - 1
_LARGEST_FLOAT = {"float16": 65504.0, "float32": 3.4028234663852886e38}


def thread_count(value: Any, otherwise: str = "") -> int:
    """The number of threads of a decoder."""
    return whole("threads", value, 1, otherwise, highest=MOST_THREADS)


def crop_rectangle(crop: Sequence[SupportsIndex]) -> Crop:
    """(x, y, width, height) for the core, which checks that it lies inside the image."""
    try:
        numbers = tuple(map(index, crop))
    except TypeError:
        raise WrongKindError(f"crop must be four whole numbers (x, y, width, height), not {crop!r}") from None
    if len(numbers) != 4:
        raise ValueError(f"crop must be four whole numbers (x, y, width, height), not {crop!r}")
    if max(numbers) > _LARGEST or min(numbers) < 0:
        raise IndexError(f"the crop {numbers} is not inside any image")
    return numbers


def window_size(value: Any) -> tuple[int, int]:
    """(height, width) of the window that is cut out of every image; one number gives a square."""
    sides = value if isinstance(value, (tuple, list)) else (value, value)
    if len(sides) != 2:
        raise ValueError(f"crop={value!r}: one side, or (height, width), is needed")
    height, width = (whole("crop", side, 1, ", or (height, width)", highest=LARGEST_WINDOW) for side in sides)
    return height, width


def fill_pixel(fill: Any) -> tuple[int, int, int]:
    """The three bytes of a pixel."""
    try:
        red, green, blue = map(index, fill)
        if min(red, green, blue) < 0 or max(red, green, blue) > 255:
            raise ValueError
    except (TypeError, ValueError):
        raise ValueError(
            f"fill must be three whole numbers from 0 to 255 (a pixel before it is normalised), not {fill!r}"
        ) from None
    return red, green, blue


def normalisation(mean: Any, std: Any, output: str) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """`mean` and `std`, each None or three numbers, for an output of this type."""
    means, stds = _three_numbers("mean", mean), _three_numbers("std", std)
    if stds is not None and 0 in stds:
        raise ValueError(f"std must not be 0: {std!r}")
    if output == "uint8" and not (means is None and stds is None):
        given = "mean needs" if stds is None else "std needs" if means is None else "mean and std need"
        raise ValueError(f"{given} a float16 or float32 output, and this one is uint8")
    for m, s in zip(means or (0.0, 0.0, 0.0), stds or (1.0, 1.0, 1.0), strict=True):
        if max(abs(m / s), abs((1 - m) / s)) > _LARGEST_FLOAT.get(output, inf):
            raise ValueError(f"mean={mean!r}, std={std!r}: pixels would be larger than {output} holds")
    return means, stds


def _three_numbers(name: str, values: Any) -> tuple[float, ...] | None:
    """Three finite floats, one per channel; None stays None."""
    if values is None:
        return None
    try:
        red, green, blue = map(float, values)
        if not (isfinite(red) and isfinite(green) and isfinite(blue)):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} must be three finite values, one per channel, not {values!r}") from None
    return red, green, blue
