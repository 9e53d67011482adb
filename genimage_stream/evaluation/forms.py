"""How figures are written: names, percent, Markdown, CSV, files."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from genimage_stream.page.scales import NONE

_HEADINGS = {
    "ap": "AP",
    "auc": "AUC",
    "eer": "EER",
    "tpr_at_5_fpr": "TPR at 5 % FPR",
    "tpr_at_10_fpr": "TPR at 10 % FPR",
    "real_count": "reals",
    "fake_count": "fakes",
}


def heading(name: str) -> str:
    """A figure's name as people write it."""
    return _HEADINGS.get(name, name.replace("_", " "))


def share(value: float | None) -> str:
    """In percent, without the sign: 98.12."""
    return NONE if value is None else f"{value * 100:.2f}"


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The first column is text, the others are numbers."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def csv_text(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Comma-separated values; None is empty."""
    to = io.StringIO()
    writer = csv.writer(to, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return to.getvalue()


def written(text: str, path: str | Path | None) -> str:
    """The text, which is also written to `path` if there is one."""
    if path is not None:
        Path(path).write_text(text, "utf-8")
    return text
