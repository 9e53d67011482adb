"""Published detectors' transforms by name: `gs.recipes.get("univfd").train`, `gs.Loader(..., transform="univfd")`."""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Literal

from genimage_stream.recipes import by_albumentations, by_timm, by_torchvision
from genimage_stream.recipes.recipe import Recipe, Resolved, maps_of

__all__ = ["Recipe", "Resolved", "get", "names", "resolve"]

_ALL: dict[str, Recipe] = {
    recipe.name: recipe for part in (by_torchvision, by_albumentations, by_timm) for recipe in part.RECIPES
}


def names() -> list[str]:
    """The names of all recipes, sorted."""
    return sorted(_ALL)


def get(name: str) -> Recipe:
    """The recipe of that name; its lists are the caller's. Raises ValueError for an unknown name."""
    recipe = _ALL.get(name)
    if recipe is None:
        near = get_close_matches(name, _ALL, n=3)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "`genimage-stream recipes` lists them."
        raise ValueError(f"there is no recipe {name!r}; {hint}")
    return replace(
        recipe,
        train=None if recipe.train is None else list(recipe.train),
        eval=None if recipe.eval is None else list(recipe.eval),
    )


def resolve(text: str) -> Resolved:
    """What `transform=text` stands for: "univfd" is the training transform, "univfd:eval" the evaluation's.

    Raises ValueError for an unknown name or part, or a part that the recipe does not have; ImportError when a Python
    function among its steps needs a package that is not installed.
    """
    name, colon, asked = text.partition(":")
    if colon and asked not in ("train", "eval"):
        raise ValueError(f"transform={text!r}: after the colon, 'train' or 'eval' is needed")
    recipe = get(name)
    part: Literal["train", "eval"] = "eval" if asked == "eval" else "train"
    steps = recipe.eval if part == "eval" else recipe.train
    if steps is None:
        other = "train" if part == "eval" else "eval"
        remedy = "" if getattr(recipe, other) is None else f'; "{name}:{other}" is there'
        raise ValueError(f"the recipe {name!r} has no {part} transform: {recipe.note}{remedy}")
    for step in maps_of(steps):
        package = getattr(step.function, "needs", None)
        if package is not None and find_spec(package) is None:
            raise ImportError(f"transform={text!r} calls {step.name}, which needs {package}: pip install {package}")
    views = recipe.eval_views if part == "eval" else recipe.train_views
    return Resolved(recipe, part, steps, recipe.normalize, views)
