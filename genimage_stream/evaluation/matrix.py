"""`gs.matrix`: the tables of several models beside each other, e.g. GenImage's 8 x 8."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genimage_stream.arguments import WrongKindError, one_of
from genimage_stream.evaluation.forms import csv_text, heading, markdown_table, share, written
from genimage_stream.evaluation.metrics import METRICS, Floats
from genimage_stream.evaluation.table import Table
from genimage_stream.page import charts


@dataclass(frozen=True)
class Matrix:
    """One figure, `value`, of several models on the same groups; in notebooks it shows itself.

    `trained`: the models' names, a row each; `groups`: the columns; `values`: float64 (rows, columns), shares of 0 to
    1, nan where a figure is not defined. `means`: float64 (rows,), over the groups where it is defined.
    """

    value: str
    trained: tuple[str, ...]
    groups: tuple[str, ...]
    values: Floats
    notes: tuple[str, ...] = ()

    @property
    def means(self) -> Floats:
        """float64 (rows,): each model's mean over the groups where the figure is defined; nan where it is in none."""
        defined = ~np.isnan(self.values)
        sums = np.where(defined, self.values, 0.0).sum(axis=1)
        counts = defined.sum(axis=1)
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)

    def markdown(self) -> str:
        """As a Markdown table in percent."""
        rows = [
            [name, *(share(_or_none(value)) for value in (*values, mean))]
            for name, values, mean in zip(self.trained, self.values, self.means, strict=True)
        ]
        text = markdown_table([f"{heading(self.value)}: trained on", *self.groups, "mean"], rows)
        return "\n\n".join([text, *self.notes]) + "\n"

    def csv(self, path: str | Path | None = None) -> str:
        """As comma-separated values with every digit; also into a file."""
        lines = [
            [name, *map(_or_none, (*values, mean))]
            for name, values, mean in zip(self.trained, self.values, self.means, strict=True)
        ]
        return written(csv_text(["trained", *self.groups, "mean"], lines), path)

    def json(self, path: str | Path | None = None) -> str:
        """As a JSON object with value, trained, groups, values, means and notes; also into a file."""
        values = [[_or_none(value) for value in row] for row in self.values]
        about = {"value": self.value, "trained": self.trained, "groups": self.groups, "values": values}
        text = json.dumps({**about, "means": [_or_none(mean) for mean in self.means], "notes": self.notes}, indent=1)
        return written(text + "\n", path)

    def heat_map(self) -> str:
        """As SVG for one of our pages: darker is more."""
        values = [[_or_none(value) for value in row] for row in self.values]
        described = f"A row for each of {len(self.trained)} models, a column for each of {len(self.groups)} groups."
        return charts.matrix(f"{heading(self.value)} in percent", described, self.trained, self.groups, values, share)

    def chart(self) -> str:
        """The heat map as the text of an SVG file."""
        return charts.standalone(self.heat_map())

    def _repr_markdown_(self) -> str:
        return self.markdown()

    def __str__(self) -> str:
        return self.markdown()


def matrix(tables: Mapping[str, Table], value: str = "accuracy") -> Matrix:
    """Put tables of the same groups below each other: {name of the model, e.g. what it was trained on: its table}.

    Raises ValueError when there is none, when they have different groups or reals, and for an unknown figure.
    """
    one_of("value", value, METRICS)
    if not isinstance(tables, Mapping) or not all(isinstance(table, Table) for table in tables.values()):
        raise WrongKindError('a matrix is made of tables by name, e.g. gs.matrix({"sd14": scores.table()})')
    if not tables:
        raise ValueError("a matrix needs at least one table")
    first_name, first = next(iter(tables.items()))
    groups = [row["group"] for row in first.rows]
    for name, table in tables.items():
        here = [row["group"] for row in table.rows]
        if sorted(here) != sorted(groups) or table.by != first.by:
            raise ValueError(
                f"the table {name!r} has the groups {', '.join(here)}, but {first_name!r} has {', '.join(groups)}: "
                "score the same groups with every model"
            )
        if table.reals != first.reals:
            raise ValueError(f"{name!r} has reals={table.reals!r} and {first_name!r} has {first.reals!r}: take one")
    values = np.array([[table.row(group)[value] for group in groups] for table in tables.values()], np.float64)
    notes = [f"{name}: {note}" for name, table in tables.items() for note in table.notes]
    return Matrix(value, tuple(map(str, tables)), tuple(groups), values, tuple(notes))


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
