"""Arguments as the core takes them; what does not fit is an error that says what would."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import SupportsIndex

Crop = tuple[int, int, int, int]

_LARGEST = (1 << 31) - 1


def whole_number(value: SupportsIndex, name: str, lowest: int, highest: int) -> int:
    """An int, or what stands for one (NumPy's integers do)."""
    try:
        number = index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, not {value!r}; write int(...) to round it down") from None
    if not lowest <= number <= highest:
        bounds = f"at least {lowest}" if number < lowest else f"at most {highest}"
        raise ValueError(f"{name} must be {bounds}, not {number}")
    return number


def crop_rectangle(crop: Sequence[SupportsIndex]) -> Crop:
    """(x, y, width, height) for the core, which checks that it lies inside the image."""
    try:
        numbers = tuple(map(index, crop))
    except TypeError:
        raise TypeError(f"crop must be four whole numbers (x, y, width, height), not {crop!r}") from None
    if len(numbers) != 4:
        raise ValueError(f"crop must be four whole numbers (x, y, width, height), not {crop!r}")
    if max(numbers) > _LARGEST or min(numbers) < 0:
        raise IndexError(f"the crop {numbers} is not inside any image")
    return numbers


def three_numbers(values: Sequence[float], name: str) -> list[float]:
    """Three finite floats: one per channel."""
    try:
        floats = [float(value) for value in values]
    except (TypeError, ValueError):
        floats = []
    if len(floats) != 3 or not all(-float("inf") < value < float("inf") for value in floats):
        raise ValueError(f"{name} must be three finite values, one per channel, not {values!r}")
    return floats


def fill_pixel(fill: Sequence[SupportsIndex]) -> list[int]:
    """The three bytes of a pixel."""
    try:
        pixel = [index(value) for value in fill]
    except TypeError:
        pixel = []
    if len(pixel) != 3 or min(pixel) < 0 or max(pixel) > 255:
        raise ValueError(
            f"fill must be three whole numbers from 0 to 255 (a pixel before it is normalised), not {fill!r}"
        )
    return pixel
