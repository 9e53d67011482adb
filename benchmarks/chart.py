"""Charts as small SVGs that read on light and dark systems: horizontal bars, and lines over numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from genimage_stream.page.charts import bar_parts
from genimage_stream.page.scales import Scale, number, short, top

WIDTH, LABELS, TOP = 780, 330, 44
HEIGHT, LEFT, RIGHT, BOTTOM = 330, 64, 24, 74

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.ground { fill: #ffffff }
.title { font-weight: 600 }
.soft { fill: #57606a }
.bar { fill: #8c959f }
.ours { fill: #0969da }
.grid { stroke: #d0d7de; stroke-width: 1 }
.line { fill: none; stroke-width: 2 }
.s0 { stroke: #0969da; fill: #0969da } .s1 { stroke: #bc4c00; fill: #bc4c00 }
.s2 { stroke: #1a7f37; fill: #1a7f37 } .s3 { stroke: #8250df; fill: #8250df }
.line { fill: none } .thin { stroke-width: 1.2 }
@media (prefers-color-scheme: dark) {
.ground { fill: #0d1117 }
text { fill: #e6edf3 } .soft { fill: #9da7b1 } .bar { fill: #6e7681 } .ours { fill: #4493f8 } .grid { stroke: #3d444d }
.s0 { stroke: #4493f8; fill: #4493f8 } .s1 { stroke: #f0883e; fill: #f0883e }
.s2 { stroke: #3fb950; fill: #3fb950 } .s3 { stroke: #ab7df8; fill: #ab7df8 }
.line { fill: none }
}
"""
DASHES = ("", "7 4", "2 4", "10 3 2 3")

#: x, median, lowest, highest.
Point = tuple[float, float, float, float]


def bar_chart(values: Mapping[str, float], title: str, *, highlight: str = "") -> str:
    """Bars in descending order, each with its value; names that begin with `highlight` stand out."""
    rows = sorted(values.items(), key=lambda item: -item[1])
    # Of the two parts of a bar, one is empty: they differ in colour.
    parts = [(name, [0, value] if highlight and name.startswith(highlight) else [value]) for name, value in rows]
    bottom, bars = bar_parts(
        parts, ["bar", "ours"], write="{:,.0f}".format, above=TOP, width=WIDTH - 8, widest_name=LABELS
    )
    described = "; ".join(f"{name}: {value:,.0f}" for name, value in rows)
    return "\n".join([*head(bottom + 8, title, described), *bars, "</svg>"]) + "\n"


def line_chart(
    series: Mapping[str, Sequence[Point]], title: str, *, x_label: str, y_label: str, log_x: bool = False
) -> str:
    """Up to four lines; each point marked, with a thin line from its lowest to its highest value.

    Colour, dashes and the legend's order all tell the lines apart. The description gives the numbers too.
    """
    xs = sorted({point[0] for points in series.values() for point in points})
    ys = [point[3] for points in series.values() for point in points]
    below = HEIGHT - BOTTOM
    x = Scale(xs[0] if log_x else 0, xs[-1], LEFT, WIDTH - RIGHT, log_x)
    y = Scale(0, top(ys), below, TOP + 14)
    told = "; ".join(
        f"{name}: " + ", ".join(f"{number(px)}: {number(_round(py))}" for px, py, *_ in points)
        for name, points in series.items()
    )
    names = list(series)
    rows = [names[i : i + 2] for i in range(0, len(names), 2)] if sum(map(len, names)) > 60 else [names]  # the legend's
    parts = head(HEIGHT + 22 * (len(rows) - 1), title, f"{y_label} by {x_label}. {told}")
    parts.append(f'<text class="soft" x="8" y="{TOP}">{escape(y_label)}</text>')
    for tick in y.ticks(4):
        parts.append(f'<path class="grid" d="M{LEFT} {y(tick):.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text class="soft" x="{LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{short(tick)}</text>')
    last = -math.inf
    few = len(xs) <= 8 and all(float(value).is_integer() for value in xs)  # sides, threads: not 4.59 seconds
    for tick in xs if few else x.ticks(6):
        if x(tick) - last > 36:
            last = x(tick)
            words = short(tick) if tick >= 1e6 else number(tick)
            parts.append(f'<text class="soft" x="{last:.1f}" y="{below + 18}" text-anchor="middle">{words}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text class="soft" x="{middle:.0f}" y="{below + 36}" text-anchor="middle">{escape(x_label)}</text>')
    for place, (name, points) in enumerate(series.items()):
        kind, dash = f"s{place % 4}", DASHES[place % 4]
        path = "L".join(f"{x(px):.1f} {y(py):.1f}" for px, py, *_ in points)
        broken = f' stroke-dasharray="{dash}"' if dash else ""
        parts.append(f'<path class="{kind} line"{broken} d="M{path}"/>')
        for px, py, low, high in points:
            if high > low:
                parts.append(f'<path class="{kind} thin" d="M{x(px):.1f} {y(low):.1f}V{y(high):.1f}"/>')
            if len(points) <= 12:
                tip = f"<title>{escape(name)}, {number(px)}: {number(_round(py))}</title>"
                parts.append(f'<circle class="{kind}" cx="{x(px):.1f}" cy="{y(py):.1f}" r="3.5">{tip}</circle>')
        row = next(number for number, row in enumerate(rows) if name in row)
        column = rows[row].index(name)
        at, level = LEFT + column * (WIDTH - LEFT) // len(rows[0]), HEIGHT - 10 + 22 * row
        parts.append(f'<path class="{kind} line"{broken} d="M{at} {level - 4}h34"/>')
        parts.append(f'<text x="{at + 42}" y="{level}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _round(value: float) -> float:
    return round(value) if abs(value) >= 10 else value


def head(height: float, title: str, described: str) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-labelledby="title description"><title id="title">{escape(title)}</title>',
        f'<desc id="description">{escape(described)}</desc><style>{STYLE}</style>',
        # A background: the colours follow the reader's system, which may be dark while the page is light.
        f'<rect class="ground" width="{WIDTH}" height="{height}" rx="6"/>',
        f'<text class="title" x="8" y="24">{escape(title)}</text>',
    ]
