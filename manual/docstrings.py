"""What Griffe calls for every docstring: the forms of this project's docstrings, in the dialect of Python-Markdown.

Options in two aligned columns become a table, `docs/page.md` becomes a link, lists are as in docs/.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import griffe

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from manual.markdown import for_site, outside_code

ROW = re.compile(r" {4}([\w.]+) {2,}(\S.*)")
MORE = re.compile(r" {8,}(\S.*)")


class HouseStyle(griffe.Extension):
    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = readable(obj.docstring.value)


def readable(text: str) -> str:
    return outside_code(for_site(_tables(text)), _linked)


def _tables(text: str) -> str:
    """Rows of `    name   meaning`, directly below a line that is their heading, as a table below that heading."""
    lines: list[str] = []
    rows: list[list[str]] = []
    before = ""

    def close() -> None:
        if rows:
            lines.extend(["", "| | |", "|---|---|"])
            lines.extend(f"| `{name}` | {meaning.replace('|', chr(92) + '|')} |" for name, meaning in rows)
        rows.clear()

    for line in text.splitlines():
        row, more = ROW.fullmatch(line), MORE.fullmatch(line)
        if rows and more and not row:
            rows[-1][1] += f" {more[1]}"
        elif row and (rows or (before.strip() and not before.startswith(" "))):
            if not rows:
                lines[-1] = f"**{before.strip()}**"
            rows.append([row[1], row[2]])
        else:
            close()
            lines.append(line)
        before = line
    close()
    return "\n".join(lines)


def _linked(line: str) -> str:
    return re.sub(r"(?<![\w/`])docs/([\w-]+)\.md", r"[docs/\1.md](../\1.html)", line)
