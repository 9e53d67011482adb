"""Charts as inline SVG, each with a title and a description for screen readers.

Widths are in the drawing's own units: about what a phone has in pixels, so that letters keep their size there; wider
pages set charts side by side. Colours come from CSS classes (`real`, `fake`, `third`), so they follow light and dark.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from genimage_stream.page.html import text
from genimage_stream.page.scales import Scale, number, percent, short, top

WIDTH = 340


@dataclass(frozen=True)
class Series:
    """A line or area: name, CSS class, values; `dash` draws it broken; `spread`: (lowest, highest) of each value."""

    name: str
    css: str
    values: Sequence[float]
    dash: bool = False
    spread: Sequence[tuple[float, float]] = ()


def frame(width: float, height: float, title: str, description: str, parts: Sequence[str]) -> str:
    name = f"c{zlib.crc32(f'{title}|{description}'.encode('utf-8', 'replace')):08x}"
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-labelledby="{name}t {name}d">'
        f'<title id="{name}t">{text(title)}</title><desc id="{name}d">{text(description)}</desc>{"".join(parts)}</svg>'
    )


def label(x: float, y: float, content: str, *, anchor: str = "start", css: str = "") -> str:
    extra = f' class="{css}"' if css else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{extra}>{text(content)}</text>'


def wide(content: str) -> float:
    """The width of a text, estimated for the widest of the usual fonts."""
    return sum(11.5 if c in "%mwMW" else 9.2 if c.isupper() else 4 if c in " .,:ijl'|" else 7.6 for c in content)


def clipped(content: str, width: float) -> str:
    """Shortened with an ellipsis to fit about `width` units."""
    if wide(content) <= width:
        return content
    while content and wide(content) > width - 11:
        content = content[:-1]
    return content.rstrip() + "…"


MOST_BARS = 200  # of a chart


def bars(
    title: str,
    description: str,
    rows: Sequence[tuple[str, Sequence[float]]],
    classes: Sequence[str],
    *,
    write: Callable[[float], str] = number,
    low: float = 0.0,
    high: float | None = None,
    value: Callable[[Sequence[float]], float] = sum,
    heading: bool = False,
) -> str:
    """Horizontal bars as `bar_parts` draws them, with the title above them if `heading`."""
    above = 24 if heading else 4
    more = len(rows) - MOST_BARS
    bottom, drawn = bar_parts(rows[:MOST_BARS], classes, write=write, low=low, high=high, value=value, above=above)
    out = [label(0, 14, title, css="title")] if heading else []
    if more > 0:
        bottom += 20
        drawn = [*drawn, label(0, bottom - 4, f"and {more:,} more, which have no bars here")]
    return frame(WIDTH, bottom + 4, title, description, out + drawn)


def bar_parts(
    rows: Sequence[tuple[str, Sequence[float]]],
    classes: Sequence[str],
    *,
    write: Callable[[float], str] = number,
    low: float = 0.0,
    high: float | None = None,
    value: Callable[[Sequence[float]], float] = sum,
    above: float,
    width: float = WIDTH,
    widest_name: float = 150.0,
) -> tuple[float, list[str]]:
    """The lower edge and the elements of horizontal bars, a row each, from `above` on.

    The parts of a row are laid end to end, coloured by `classes`, with the written value behind them. Bars start at
    `low`, which is not always zero (e.g. 50 % for guessing); then a line marks it.
    """
    names_width = min(widest_name, max((wide(name) for name, _ in rows), default=0) + 10)
    ends = [write(value(parts)) for _, parts in rows]
    values_width = max((wide(end) for end in ends), default=0) + 8
    largest = high if high is not None else max((sum(parts) for _, parts in rows), default=1.0) or 1.0
    scale = Scale(low, largest, names_width, width - values_width)
    out = []
    for i, ((name, parts), end) in enumerate(zip(rows, ends, strict=True)):
        y = above + 26 * i
        out.append(label(names_width - 8, y + 16, clipped(name, names_width - 8), anchor="end", css="name"))
        ends_at = [low, *accumulate(parts)]  # one part: from `low`; several: from zero
        for part, css, start, stop in zip(parts, classes, map(scale, ends_at), map(scale, ends_at[1:]), strict=False):
            if stop > start:
                tip = f"<title>{text(name)}: {text(write(part))}</title>"
                place = f'x="{start:.1f}" y="{y + 4}" width="{stop - start:.2f}" height="17" rx="1.5"'
                out.append(f'<rect class="fill {css}" {place}>{tip}</rect>')
        out.append(label(scale(ends_at[-1]) + 6, y + 16, end, css="value"))
    bottom = above + 26 * len(rows)
    if low:
        out.append(f'<path class="axis" d="M{scale(low):.1f} {above}V{bottom}"/>')
    return bottom, out


def share_bars(title: str, description: str, rows: Sequence[tuple[str, float]], css: str) -> str:
    """Bars of shares of a whole, 0 to 1, under a heading."""
    return bars(
        title, description, [(name, [share]) for name, share in rows], [css], write=percent, high=1.0, heading=True
    )


def histogram(
    title: str,
    description: str,
    edges: npt.NDArray[np.float64],
    series: Sequence[Series],
    *,
    x_label: str,
    log: bool = False,
    height: float = 210,
) -> str:
    """Shares of samples per bin as overlaid stepped areas. `edges`: (bins + 1,); the values of each series: (bins,)."""
    left, right, above, below = 44.0, WIDTH - 14.0, 12.0, height - 38
    x = Scale(float(edges[0]), float(edges[-1]), left, right, log)
    y = Scale(0, top([max(s.values, default=0) for s in series]), below, above)
    out = y_axis(y, left, right, lambda v: percent(v, 0) if v else "0")
    out += x_axis(x, below, x_label, left, right)
    for one in series:
        points = [f"M{x(float(edges[0])):.1f} {below:.1f}"]
        for i, share in enumerate(one.values):
            points.append(f"V{y(share):.1f}H{x(float(edges[i + 1])):.1f}")
        line = "".join(points) + f"V{below:.1f}"
        out.append(f'<path class="fill area {one.css}" d="{line}Z"/>')
        broken = " dash" if one.dash else ""
        out.append(f'<path class="stroke {one.css}{broken}" stroke-width="1.5" d="{line}"/>')
    return frame(WIDTH, height, title, description, out)


_APART = 26.0  # from the middle of one number on an axis to that of the next
_INSET = 14.0  # from the vertical axis to the first point, where that is not 0


def lines(
    title: str,
    description: str,
    at: Sequence[float],
    series: Sequence[Series],
    *,
    x_label: str,
    write: Callable[[float], str] = short,
    height: float = 230,
    low: float = 0,
    high: float | None = None,
    levels: Sequence[tuple[str, float]] = (),
) -> str:
    """Lines over a few points `at`, rising, marked by a different shape per series.

    The horizontal axis begins at `low`, the vertical one ends at `high`, by default above the largest value; `levels`,
    (colour, value), are lines across.
    """
    left, right, above, below = 48.0, WIDTH - 16.0, 12.0, height - 38
    x = Scale(low, max(at, default=1), left + (_INSET if low else 0), right)
    largest = top([max([*s.values, *(end for _, end in s.spread)], default=0) for s in series])
    y = Scale(0, largest if high is None else high, below, above)
    out = y_axis(y, left, right, write)
    out.append(f'<path class="axis" d="M{left:.1f} {below:.1f}H{right:.1f}"/>')
    out += [f'<path class="thin {css}" d="M{left:.1f} {y(v):.1f}H{right:.1f}"/>' for css, v in levels]
    written = right + _APART
    for v in reversed(at):  # the last is always written, the others where there is room
        if written - x(v) >= _APART:
            written = x(v)
            out.append(label(written, below + 15, f"{v:g}", anchor="middle"))
    out.append(label((left + right) / 2, below + 31, x_label, anchor="middle"))
    for place, one in enumerate(series):
        points = [(x(a), y(v)) for a, v in zip(at, one.values, strict=True)]
        # One point is no line: a level across the chart instead.
        drawn = points if len(points) > 1 else [(left, points[0][1]), (right, points[0][1])]
        path = "L".join(f"{px:.1f} {py:.1f}" for px, py in drawn)
        out.append(f'<path class="stroke {one.css}{" dash" if one.dash else ""}" d="M{path}"/>')
        aside = 3.0 * (place - (len(series) - 1) / 2)  # so that the spreads of two lines can be distinguished
        for (px, _), (lowest, highest) in zip(points, one.spread, strict=False):
            out.append(f'<path class="thin {one.css}" d="M{px + aside:.1f} {y(lowest):.1f}V{y(highest):.1f}"/>')
        for (px, py), v in zip(points, one.values, strict=True):
            out.append(
                f'<g class="fill {one.css}">{marker(place, px, py)}<title>{text(one.name)}: {write(v)}</title></g>'
            )
    return frame(WIDTH, height, title, description, out)


def marker(shape: int, x: float, y: float) -> str:
    if shape % 3 == 0:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
    if shape % 3 == 1:
        return f'<rect x="{x - 3.6:.1f}" y="{y - 3.6:.1f}" width="7.2" height="7.2"/>'
    return f'<path d="M{x:.1f} {y - 4.8:.1f}l4.6 8.4h-9.2z"/>'


def heat(
    title: str,
    description: str,
    counts: npt.NDArray[np.int64],
    edges: npt.NDArray[np.float64],
    css: str,
    *,
    x_label: str,
    y_label: str,
    marks: Sequence[tuple[float, float, str]] = (),
) -> str:
    """A square map of counts on two logarithmic axes of the same edges; darker is more, by the logarithm of the count.

    `counts`: (bins, bins), [x, y]; `marks`: (x, y, text) written beside a place.
    """
    left, above, side = 46.0, 24.0, WIDTH - 46.0 - 18
    below = above + side
    x = Scale(float(edges[0]), float(edges[-1]), left, left + side, True)
    y = Scale(float(edges[0]), float(edges[-1]), below, above, True)
    out = [
        label(0, 14, title, css="title"),
        *y_axis(y, left, left + side, number),
        *x_axis(x, below, x_label, left, left + side),
    ]
    out.append(f'<path class="axis" d="M{left:.1f} {below:.1f}L{left + side:.1f} {above:.1f}" stroke-dasharray="2 4"/>')
    out.append(label(left + 4, above + 11, f"↑ {y_label}"))
    darkest = math.log1p(int(np.max(counts, initial=1)))
    for i, j in zip(*np.nonzero(counts), strict=True):
        x0, x1, y0, y1 = x(float(edges[i])), x(float(edges[i + 1])), y(float(edges[j + 1])), y(float(edges[j]))
        weight = 0.15 + 0.85 * math.log1p(int(counts[i, j])) / darkest
        grown = max(0.0, 5 - (x1 - x0)) / 2  # never too small to see
        out.append(
            f'<rect class="fill {css}" fill-opacity="{weight:.2f}" x="{x0 - grown:.1f}" y="{y0 - grown:.1f}" '
            f'width="{x1 - x0 + 2 * grown:.1f}" height="{y1 - y0 + 2 * grown:.1f}"/>'
        )
    for px, py, content in marks:
        room = left + side - x(px) - 10
        before = wide(content) > room
        out.append(
            label(x(px) + (-8 if before else 8), y(py) - 7, content, anchor="end" if before else "start", css="value")
        )
    return frame(WIDTH, below + 38, title, description, out)


def y_axis(scale: Scale, left: float, right: float, write: Callable[[float], str]) -> list[str]:
    out = []
    for tick in scale.ticks(4):
        out.append(f'<path class="grid" d="M{left:.1f} {scale(tick):.1f}H{right:.1f}"/>')
        out.append(label(left - 6, scale(tick) + 4, write(tick), anchor="end"))
    return out


def x_axis(scale: Scale, below: float, name: str, left: float, right: float) -> list[str]:
    out = [f'<path class="axis" d="M{left:.1f} {below:.1f}H{right:.1f}"/>']
    out += [label(scale(tick), below + 15, number(tick), anchor="middle") for tick in scale.ticks(5)]
    out.append(label((left + right) / 2, below + 31, name, anchor="middle"))
    return out


def matrix(
    title: str,
    description: str,
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float | None]],
    write: Callable[[float | None], str],
) -> str:
    """Cells of shares of 0 to 1, (rows, columns), each with its figure; darker is more, from 0.5 if none is below."""
    side, above = 46.0, 46.0
    left = min(150.0, max(map(wide, rows), default=0.0) + 10)
    found = [value for row in values for value in row if value is not None]
    scale = Scale(0.5 if min(found, default=0.0) >= 0.5 else 0.0, 1.0, 0.05, 0.55)
    out = [label(0, 14, title, css="title")]
    for i, name in enumerate(columns):
        out.append(label(left + side * (i + 0.5), above - 8, clipped(name, side + 8), anchor="middle", css="name"))
    for j, (name, row) in enumerate(zip(rows, values, strict=True)):
        y = above + 30 * j
        out.append(label(left - 8, y + 19, clipped(name, left - 8), anchor="end", css="name"))
        for i, (column, value) in enumerate(zip(columns, row, strict=True)):
            tip = f"<title>{text(name)}, {text(column)}: {text(write(value))}</title>"
            place = f'x="{left + side * i + 1:.1f}" y="{y + 1:.1f}" width="{side - 2:g}" height="28" rx="2"'
            dark = scale(value) if value is not None else 0.0
            out.append(f'<rect class="fill third" fill-opacity="{dark:.2f}" {place}>{tip}</rect>')
            out.append(label(left + side * (i + 0.5), y + 19, write(value), anchor="middle", css="value"))
    return frame(max(WIDTH, left + side * len(columns) + 4), above + 30 * len(rows) + 4, title, description, out)


def standalone(svg: str) -> str:
    """A chart as the text of an SVG file, with the colours of our pages in it."""
    style = resources.files("genimage_stream").joinpath("page/style.css").read_text("utf-8")
    # Of the page's rules those of charts: its variables, in light and dark, and what begins with "svg".
    rules = re.findall(
        r"^(?::root \{.*?^\}|@media \(prefers-color-scheme.*?^\}|svg .*?$)", style, re.DOTALL | re.MULTILINE
    )
    css = "\n".join(rules).replace(":root", "svg")
    first, rest = svg.split(">", 1)
    named = first.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"')
    return f"{named}><style>{css}</style>{rest}\n"
