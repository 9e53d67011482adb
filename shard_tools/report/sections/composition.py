"""Images per generator, split and label, beside the published counts of GenImage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from genimage_stream.page import charts, html
from genimage_stream.page.html import Cell, Section
from genimage_stream.page.scales import NONE, number, percent
from genimage_stream.vocabulary import LABELS, PUBLISHED
from shard_tools.report.findings import Findings
from shard_tools.report.statistics import Part


def section(found: Findings) -> Section:
    """Charts of what is there and of how complete it is, and the table of every count."""
    totals: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for part in found.parts:
        for k in (0, 1):
            totals[part.generator][k] += part.packed[k]
    rows = [
        (part.generator, part.split, *_counted(part, 0), *_counted(part, 1), sum(part.quarantined) or NONE)
        for part in found.parts
    ]
    columns = ("Generator", "Split", "Real", "of published", "Fake", "of published", "Quarantined")
    chart = charts.bars(
        "Images per generator",
        "Horizontal bars, reals and fakes of each generator end to end; the table holds the numbers.",
        list(totals.items()),
        list(LABELS),
    )
    table = html.table("Packed images beside the published counts of GenImage", columns, rows, numeric=range(2, 7))
    there = [label for k, label in enumerate(LABELS) if any(counts[k] for counts in totals.values())]
    section = Section("Composition").add(_completeness(found.parts))
    pair = [html.figure("Images per generator", chart, legend=html.label_keys(*there))]
    listed = {part.generator: PUBLISHED[part.generator] for part in found.parts if part.published is not None}
    shares = {name: sum(totals[name]) / sum(counts) for name, counts in listed.items()}
    if max(shares.values(), default=0.0) >= 0.01:  # bars of less cannot be seen; the table has the figures
        complete = charts.bars(
            "Share of the published images",
            "Horizontal bars from nothing to all published images; the table holds the numbers.",
            [(name, [min(1.0, share)]) for name, share in shares.items()],
            ["third"],
            write=percent,
            high=1.0,
        )
        pair.append(html.figure("Share of the published images that is packed", complete))
    absent = [name for name in PUBLISHED if name not in totals]
    section.add(html.pair(*pair), table)
    return section.add(
        html.paragraph(f"Generators of GenImage that are not here: {', '.join(absent)}.") if absent else ""
    )


def _counted(part: Part, label: int) -> tuple[str, Cell]:
    have = part.packed[label]
    if part.published is None:
        return number(have), Cell("not listed")
    wanted = part.published[label]
    if have == wanted:
        return number(have), Cell("all", style_class="good-text")
    return number(have), Cell(f"{percent(have / wanted)} of {number(wanted)}")


def _completeness(parts: Sequence[Part]) -> str:
    listed = [part for part in parts if part.published is not None]
    if not listed:
        return html.note("None of the generators has published counts to compare with.")
    packed = sum(sum(part.packed) for part in listed)
    wanted = sum(sum(part.published or ()) for part in listed)
    missing = sum(part.missing for part in listed)
    bad = sum(sum(part.quarantined) for part in listed)
    if packed == wanted and not missing:
        return html.note("Every published image of these generators is packed.", "good")
    sentence = f"{number(packed)} of the {number(wanted)} published images of these generators are packed"
    sentence += f", {number(bad)} are quarantined" if bad else ""
    return html.note(html.text(sentence + (f", {number(missing)} are not there." if missing else ".")))
