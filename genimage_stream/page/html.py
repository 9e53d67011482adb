"""The pieces of a page: sections, tables, figures, and the frame around them.

Functions take plain text and escape it; arguments named `html` or `svg` are taken as they are.
"""

from __future__ import annotations

import html as _html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib import resources
from string import Template

from genimage_stream.remedies import printable


def label_keys(*labels: str) -> list[tuple[str, str]]:
    """The legend of these labels, for figure(); none of a single one, which the words have to name."""
    return [(label, label) for label in labels] if len(labels) > 1 else []


def text(value: object) -> str:
    """Escape for an element's content or a quoted attribute, control characters and turns of direction included."""
    return _html.escape("\n".join(map(printable, str(value).split("\n"))))


@dataclass(frozen=True)
class Cell:
    """A table cell with more than its text: `html` instead of it, a CSS class, a bar of `share` (0 to 1) behind it."""

    value: object = ""
    html: str | None = None
    style_class: str = ""
    share: float | None = None

    def render(self, tag: str, numeric: bool, column: str, role: str = "", aside: bool = False) -> str:
        classes = " ".join(filter(None, ["number" if numeric else "", "aside" if aside else "", self.style_class]))
        attributes = f' class="{classes}"' if classes else ""
        attributes += f' data-column="{text(column)}"'
        if self.share is not None:
            attributes += f' style="--share:{min(1.0, max(0.0, self.share)):.3f}"'
        attributes += ' scope="row"' if tag == "th" else ""
        return f"<{tag}{role}{attributes}>{text(self.value) if self.html is None else self.html}</{tag}>"


MOST_ROWS = 400  # of a table: a page of thousands of generators stays one that a browser opens


def table(
    caption: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    numeric: Iterable[int] = (),
    cards: bool = False,
    brief: Iterable[int] = (),
) -> str:
    """A table that scrolls inside itself when it is wider than the page; the first column heads each row.

    Cells are Cell or anything that str() takes; `numeric` are the columns set right-aligned. With `cards`, a narrow
    page shows each row as a block of its own, cell below cell with the column's name; of the columns `brief` alone, if
    there are any, so that a block stays short.
    """
    right, few = set(numeric), set(brief)
    rows = list(rows)
    if len(rows) > MOST_ROWS:
        caption += f" (the first {MOST_ROWS} of {len(rows):,} rows)"

    def role(name: str) -> str:  # laid out as blocks, a table is one for screen readers only when it says so
        return f' role="{name}"' if cards else ""

    head = "".join(
        f'<th{role("columnheader")} scope="col"{" class=number" if i in right else ""}>{text(name)}</th>'
        for i, name in enumerate(columns)
    )
    lines = []
    for row in rows[:MOST_ROWS]:
        cells = [cell if isinstance(cell, Cell) else Cell(cell) for cell in row]
        inner = "".join(
            cell.render(
                "td" if i else "th",
                i in right,
                name,
                role("cell" if i else "rowheader"),
                bool(few) and i not in {0, *few},
            )
            for i, (cell, name) in enumerate(zip(cells, columns, strict=True))
        )
        lines.append(f"<tr{role('row')}>{inner}</tr>")
    # Focusable, or a keyboard could not scroll it.
    return (
        f'<div class="scroll" role="region" aria-label="{text(caption)}" tabindex="0">'
        f"<table{role('table')}{' class=cards' if cards else ''}><caption><span>{text(caption)}</span></caption>"
        f"<thead{role('rowgroup')}><tr{role('row')}>{head}</tr></thead>"
        f"<tbody{role('rowgroup')}>{''.join(lines)}</tbody></table></div>"
    )


def details(summary: str, html: str) -> str:
    """Something to unfold, by mouse or keyboard."""
    return f"<details><summary>{text(summary)}</summary>{html}</details>"


def figure(caption: str, svg: str | Sequence[str], *, legend: Sequence[tuple[str, str]] = (), data: str = "") -> str:
    """One chart or several side by side, with caption, a legend of (CSS class, name), and its numbers to unfold."""
    charts = [svg] if isinstance(svg, str) else list(svg)
    keys = "".join(f'<li><span class="key {text(name)}"></span>{text(label)}</li>' for name, label in legend)
    return (
        f'<figure aria-label="{text(caption)}">'
        f"<figcaption>{text(caption)}</figcaption>{f'<ul class=legend>{keys}</ul>' if keys else ''}"
        f'<div class="charts">{"".join(charts)}</div>{details("The numbers as a table", data) if data else ""}</figure>'
    )


def pair(*figures: str) -> str:
    """Figures of one chart each, side by side where there is room."""
    return f'<div class="pair">{"".join(figures)}</div>'


def paragraph(*sentences: str) -> str:
    return f"<p>{text(' '.join(filter(None, sentences)))}</p>"


def facts(pairs: Iterable[tuple[str, object]]) -> str:
    """Key figures at the head of a page: (name, value)."""
    inner = "".join(f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in pairs)
    return f'<dl class="facts">{inner}</dl>'


def note(html: str, kind: str = "") -> str:
    """A paragraph set apart; `kind` "bad" or "good" colours its edge, the words have to say it too."""
    return f'<p class="note {text(kind)}">{html}</p>'


@dataclass
class Section:
    """A headed part of the page; `add` appends pieces, `sub` opens a part of its own below it."""

    title: str
    parts: list[str] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")

    def add(self, *html: str) -> Section:
        self.parts.extend(html)
        return self

    def sub(self, title: str, *html: str) -> Section:
        self.parts.append(f"<h3>{text(title)}</h3>")
        return self.add(*html)

    def render(self) -> str:
        name = text(self.anchor)
        return (
            f'<section aria-labelledby="{name}"><h2 id="{name}" tabindex="-1">{text(self.title)}</h2>'
            f"{''.join(self.parts)}</section>"
        )


def page(title: str, *, lead: str, sections: Sequence[Section], footer: str) -> str:
    """A whole document. `lead` is HTML below the heading; links to the sections follow it."""
    here = resources.files("genimage_stream").joinpath("page")
    links = "".join(f'<li><a href="#{text(s.anchor)}">{text(s.title)}</a></li>' for s in sections)
    return Template(here.joinpath("page.html").read_text("utf-8")).substitute(
        title=text(title),
        style=here.joinpath("style.css").read_text("utf-8"),
        lead=lead,
        links=links,
        first=text(sections[0].anchor) if sections else "",
        body="".join(section.render() for section in sections),
        footer=text(footer),
    )
