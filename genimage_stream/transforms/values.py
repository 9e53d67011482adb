"""Arguments of steps: checked and made hashable when a step is constructed."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Any

from genimage_stream.transforms.step import Step


def put(step: Step, **values: Any) -> None:
    """Give a frozen step its checked values."""
    for name, value in values.items():
        object.__setattr__(step, name, value)


def whole(step: Step, name: str, value: Any, low: int, high: int = (1 << 20)) -> int:
    """A whole number from `low` to `high`."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = index(value)
    except TypeError:
        raise step.wrong(name, value, "a whole number is needed") from None
    if not low <= number <= high:
        raise step.wrong(name, value, f"must be from {low} to {high}")
    return number


def size(step: Step, name: str, value: Any) -> int | tuple[int, int]:
    """A side, or (height, width)."""
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise step.wrong(name, value, "one side, or (height, width), is needed")
        return whole(step, name, value[0], 1), whole(step, name, value[1], 1)
    return whole(step, name, value, 1)


def sides(value: int | tuple[int, int]) -> tuple[int, int]:
    """(height, width) of what `size` returned, with one side for both."""
    return value if isinstance(value, tuple) else (value, value)


def number(step: Step, name: str, value: Any, low: float, high: float) -> float:
    """A finite number from `low` to `high`."""
    try:
        if isinstance(value, (bool, str)):
            raise TypeError
        found = float(value)
    except (TypeError, ValueError):
        raise step.wrong(name, value, "a number is needed") from None
    if not low <= found <= high or found in (float("inf"), float("-inf")):
        raise step.wrong(name, value, f"must be from {low:g} to {high:g}")
    return found


def pair(step: Step, name: str, value: Any, low: float, high: float) -> tuple[float, float]:
    """(low, high) in this order."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise step.wrong(name, value, "(low, high) is needed")
    found = number(step, name, value[0], low, high), number(step, name, value[1], low, high)
    if found[0] > found[1]:
        raise step.wrong(name, value, "the first value must not be above the second")
    return found


def number_or_pair(step: Step, name: str, value: Any, low: float, high: float) -> float | tuple[float, float]:
    """A number, or (low, high)."""
    return (pair if isinstance(value, (tuple, list)) else number)(step, name, value, low, high)


def bounds(value: float | tuple[float, float]) -> tuple[float, float]:
    """(low, high) of what `number_or_pair` returned."""
    return value if isinstance(value, tuple) else (value, value)


def truth(step: Step, name: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise step.wrong(name, value, "True or False is needed")
    return value


def probability(step: Step, value: Any, name: str = "p") -> float:
    """From 0 to 1."""
    return number(step, name, value, 0.0, 1.0)


def one_of(step: Step, name: str, value: Any, allowed: Sequence[str]) -> None:
    """One of these words."""
    if value not in allowed:
        raise step.wrong(name, value, f"must be one of {', '.join(map(repr, allowed))}")
