"""A table of results: a row per group, the mean over groups, and the forms in which people take it along."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from genimage_stream.arguments import one_of
from genimage_stream.evaluation.forms import csv_text, heading, markdown_table, share, written
from genimage_stream.evaluation.metrics import METRICS
from genimage_stream.page import charts
from genimage_stream.vocabulary import FAKE

Reals = Literal["own", "pooled"]
Row = dict[str, Any]

COUNTS = ("count", "real_count", "fake_count")

_COLUMNS = ("count", *METRICS, "real_count", "fake_count")


@dataclass(frozen=True)
class Table:
    """Figures of groups of samples; in notebooks it shows itself.

    `rows`: a dict per group with `group` (its name), `count`, `accuracy`, `real_accuracy`, `fake_accuracy` (a score
    above 0.5 is fake), `balanced_accuracy`, `ap`, `auc`, `best_threshold` (a score above it is fake), `best_accuracy`,
    `eer`, `tpr_at_5_fpr`, `tpr_at_10_fpr`, `real_count`, `fake_count`; with several columns in `by` those, too; after a
    bootstrap `intervals`, {figure: (low, high)}, of 95 %. Figures are shares of 0 to 1; one that is not defined, e.g.
    AP of a group without fakes, is None.

    `mean`: the unweighted mean of the groups' figures, where they are defined; `undefined` counts where not; its counts
    are of distinct samples. `notes`: sentences that belong to the figures. `missing`: samples without a score.
    """

    by: tuple[str, ...]
    reals: Reals
    rows: list[Row]
    mean: Row
    notes: tuple[str, ...] = ()
    missing: int = 0

    def row(self, group: str) -> Row:
        """The row of a group. Raises KeyError for one that the table does not have."""
        for row in self.rows:
            if row["group"] == group:
                return row
        raise KeyError(f"the table has no group {group!r}; it has {', '.join(row['group'] for row in self.rows)}")

    def markdown(self) -> str:
        """As a Markdown table, shares in percent, with the notes below it."""
        body = [[row["group"], *(_cell(row, name) for name in _COLUMNS)] for row in (*self.rows, self.mean)]
        text = markdown_table([", ".join(self.by), *map(heading, _COLUMNS)], body)
        return "\n\n".join([text, *self.sentences()]) + "\n"

    def text(self, width: int = 80) -> str:
        """For a terminal of `width` characters: aligned, with the figures most asked for, as many of them as fit."""
        names = ("accuracy", "real_accuracy", "fake_accuracy", "ap", "auc", "count", "eer", *METRICS)
        columns: list[list[str]] = [[", ".join(self.by), *(row["group"] for row in (*self.rows, self.mean))]]
        for name in dict.fromkeys(names):
            columns.append([heading(name), *(_cell(row, name) for row in (*self.rows, self.mean))])
            if len(columns) > 2 and sum(max(map(len, column)) + 2 for column in columns) - 2 > width:
                columns.pop()
                break
        widths = [max(map(len, column)) for column in columns]
        lines = [
            "  ".join(cell.rjust(wide) if at else cell.ljust(wide) for at, (cell, wide) in enumerate(cells))
            for cells in (zip(line, widths, strict=True) for line in zip(*columns, strict=True))
        ]
        return "\n\n".join(["\n".join(lines), *self.sentences()]) + "\n"

    def csv(self, path: str | Path | None = None) -> str:
        """As comma-separated values with every digit, the mean last; an undefined figure is empty. Also into a file."""
        extra = list(self.by) if len(self.by) > 1 else []
        names = ["group", *extra, *_COLUMNS]
        if "intervals" in self.mean:
            names += [f"{name}_{end}" for name in METRICS for end in ("low", "high")]
        lines = [[_flat(row).get(name) for name in names] for row in (*self.rows, self.mean)]
        return written(csv_text(names, lines), path)

    def json(self, path: str | Path | None = None) -> str:
        """As a JSON object with by, reals, rows, mean, notes and missing; an undefined figure is null. Also a file."""
        about = {"by": self.by, "reals": self.reals, "rows": self.rows, "mean": self.mean}
        return written(json.dumps({**about, "notes": self.notes, "missing": self.missing}, indent=1) + "\n", path)

    def sentences(self) -> list[str]:
        """The notes, and which figures are undefined for how many groups."""
        undefined = [f"{heading(name)} for {count}" for name, count in self.mean["undefined"].items()]
        if not undefined:
            return list(self.notes)
        groups = self.mean["groups"]
        return [*self.notes, f"Not defined, and left out of the mean: {', '.join(undefined)} of {groups} groups."]

    def bars(self, value: str = "accuracy") -> str:
        """A bar per group of one figure, as SVG for one of our pages. Raises ValueError for another name."""
        one_of("value", value, METRICS)
        rows = [(row["group"], [row[value]]) for row in (*self.rows, self.mean) if row[value] is not None]
        shown = "; ".join(f"{name} {share(parts[0])}" for name, parts in rows)
        return charts.bars(
            f"{heading(value)} in percent by {', '.join(self.by)}",
            shown,
            rows,
            [FAKE],
            write=share,
            high=1.0,
            heading=True,
        )

    def chart(self, value: str = "accuracy") -> str:
        """A bar per group of one figure, as the text of an SVG file. Raises ValueError for another name."""
        return charts.standalone(self.bars(value))

    def _repr_markdown_(self) -> str:
        return self.markdown()

    def __str__(self) -> str:
        return self.markdown()


def _cell(row: Row, name: str) -> str:
    value = row[name]
    if value is None:
        return share(None)
    if name in COUNTS:
        return f"{value:,}"
    write = _threshold if name == "best_threshold" else share
    ends: Sequence[float] | None = row.get("intervals", {}).get(name)
    return write(value) + (f" ({write(ends[0])} to {write(ends[1])})" if ends else "")


def _threshold(value: float) -> str:
    return f"{value:.4g}"


def _flat(row: Row) -> Row:
    """With the ends of intervals as entries of their own."""
    ends: Row = {}
    for name, interval in row.get("intervals", {}).items():
        ends |= dict(zip((f"{name}_low", f"{name}_high"), interval or (None, None), strict=True))
    return row | ends
