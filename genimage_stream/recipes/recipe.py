"""What a recipe is: how one detector's images are transformed, with where that was read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple

from genimage_stream.transforms import Map, RandomApply, Step

Normalization = Literal["imagenet", "clip", "half", "none"]
Views = Literal["center", "five", "ten", "all", "whole"]


@dataclass(frozen=True)
class Recipe:
    """The transforms of one detector, as its published code has them.

    `train` and `eval` are lists of steps, or None where there is none to have: `note` says why. `eval` is empty where
    whole images are evaluated (`eval_views="whole"`). `normalize` is None where the source leaves it open.
    """

    name: str
    title: str  # as papers call the detector
    source: str  # the repository and its commit, or what else was read
    train: list[Step] | None = None
    eval: list[Step] | None = None
    normalize: Normalization | None = "imagenet"
    train_views: Views | None = None
    eval_views: Views | None = None
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """All fields; the steps as `to_json` writes them; and whether each part runs in C++ from end to end."""
        found: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        for part in ("train", "eval"):
            steps = found[part]
            found[part] = None if steps is None else [step.as_json() for step in steps]
            found[f"{part}_in_cpp"] = None if steps is None else in_cpp(steps)
        return found


class Resolved(NamedTuple):
    """What a recipe's name in `transform=` stands for."""

    recipe: Recipe
    part: Literal["train", "eval"]
    steps: list[Step]
    normalize: Normalization | None
    views: Views | None


def maps_of(steps: Sequence[Step]) -> list[Map]:
    """The Python functions among the steps, inner ones included."""
    return [step for outer in steps for step in outer.walk() if isinstance(step, Map)]


def in_cpp(steps: Sequence[Step]) -> bool:
    """Whether no step is a Python function."""
    return not maps_of(steps)


def described(step: Step) -> str:
    """A step as it is written in Python, without arguments that have their default values (but for RandomApply's p)."""
    arguments = []
    for place, field in enumerate(fields(step)):  # type: ignore[arg-type]  # every step is a dataclass
        value = getattr(step, field.name)
        always = field.name == "p" and isinstance(step, RandomApply)
        if not field.repr or (value == field.default and not always):
            continue
        text = _text(value)
        first = place == 0 and field.name in ("size", "transforms", "step", "p", "degrees", "quality", "scale")
        arguments.append(text if first else f"{field.name}={text}")
    return f"{type(step).__name__}({', '.join(arguments)})"


def _text(value: Any) -> str:
    if isinstance(value, Step):
        return described(value)
    if isinstance(value, tuple) and value and isinstance(value[0], Step):
        return described(value[0]) if len(value) == 1 else f"[{', '.join(map(described, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(_text, value))})"
    return f"{value:.4g}" if isinstance(value, float) else repr(value)
