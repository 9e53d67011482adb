"""Recipes as text: for the terminal, and as the table of docs/recipes.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from genimage_stream.recipes.recipe import Recipe, described, in_cpp
from genimage_stream.transforms import Step

_WIDTH = 11


def lines(recipes: Iterable[Recipe]) -> Iterator[str]:
    """Each recipe: its name, what it consists of, where that was read."""
    for recipe in recipes:
        yield f"{recipe.name}  {recipe.title}"
        for part, steps, views in (
            ("train", recipe.train, recipe.train_views),
            ("eval", recipe.eval, recipe.eval_views),
        ):
            yield _line(part, _part(steps, views, recipe))
        yield _line("normalize", recipe.normalize or "not stated")
        yield _line("source", recipe.source)
        if recipe.note:
            yield _line("note", recipe.note)
        yield ""


def table(recipes: Iterable[Recipe]) -> str:
    """A section of Markdown for each recipe."""
    found = []
    for recipe in recipes:
        rows = [f"### {recipe.name}", "", f"{recipe.title}. Source: {recipe.source}."]
        rows[-1] += f" Normalisation: {recipe.normalize or 'not stated'}."
        if recipe.note:
            rows[-1] += f" {recipe.note}"
        rows.append("")
        for part, steps, views in (
            ("Training", recipe.train, recipe.train_views),
            ("Evaluation", recipe.eval, recipe.eval_views),
        ):
            if steps is None:
                rows.append(f"* {part}: none.")
                continue
            text = ", ".join(f"`{described(step)}`" for step in steps) or "no steps"
            rows.append(f"* {part}{_suffix(steps, views)}: {text}.")
        found.append("\n".join(rows))
    return "\n\n".join(found) + "\n"


def _suffix(steps: Sequence[Step], views: str | None) -> str:
    said = [*([f'views="{views}"'] if views else []), *([] if in_cpp(steps) else ["with Python functions"])]
    return f" ({', '.join(said)})" if said else ""


def _part(steps: Sequence[Step] | None, views: str | None, recipe: Recipe) -> str:
    if steps is None:
        return "none (see note)" if recipe.note else "none"
    return (", ".join(map(described, steps)) or "no steps") + _suffix(steps, views)


def _line(name: str, text: str) -> str:
    return f"  {name:{_WIDTH}}{text}"
