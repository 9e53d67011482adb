"""A horizontal bar chart as a small SVG that reads on light and dark pages."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

WIDTH, ROW, LABELS, TOP = 780, 26, 270, 44

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 }
.bar { fill: #8c959f }
.ours { fill: #0969da }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .bar { fill: #6e7681 } .ours { fill: #4493f8 } }
"""


def bar_chart(values: Mapping[str, float], title: str, *, highlight: str = "") -> str:
    """Bars in descending order, each with its value; names that begin with `highlight` stand out."""
    rows = sorted(values.items(), key=lambda item: -item[1])
    largest = max(values.values(), default=1.0)
    height = TOP + ROW * len(rows) + 8
    described = "; ".join(f"{name}: {value:,.0f}" for name, value in rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-labelledby="title description"><title id="title">{escape(title)}</title>',
        f'<desc id="description">{escape(described)}</desc><style>{STYLE}</style>',
        f'<text class="title" x="8" y="24">{escape(title)}</text>',
    ]
    for number, (name, value) in enumerate(rows):
        y = TOP + ROW * number
        length = (WIDTH - LABELS - 70) * value / largest
        kind = "ours" if highlight and name.startswith(highlight) else "bar"
        parts.append(f'<text x="{LABELS - 8}" y="{y + 15}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect class="{kind}" x="{LABELS}" y="{y + 2}" width="{length:.1f}" height="18" rx="3"/>')
        parts.append(f'<text x="{LABELS + length + 6:.1f}" y="{y + 15}">{value:,.0f}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
