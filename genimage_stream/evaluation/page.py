"""An evaluation as one HTML page: the figures, a heat map, curves over degradations, what was most wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from genimage_stream.decode import DecodeError
from genimage_stream.evaluation.forms import heading, share
from genimage_stream.evaluation.scores import NOT_DEGRADED, Scores
from genimage_stream.evaluation.table import Reals, Row, Table
from genimage_stream.page import charts, html
from genimage_stream.page.charts import Series
from genimage_stream.page.html import Cell, Section
from genimage_stream.page.picture import data_address, encode_png, shrink
from genimage_stream.page.scales import percent
from genimage_stream.vocabulary import FAKE, REAL

_SHOWN = ("accuracy", "real_accuracy", "fake_accuracy", "balanced_accuracy", "ap", "auc", "eer", "tpr_at_5_fpr")
_MOST_WRONG = 8  # of each label
_SIDE = 160  # pixels of a thumbnail


def render(scores: Scores, model: str, about: Sequence[tuple[str, object]], footer: str, reals: Reals = "own") -> str:
    """The whole document. `about`: how it was evaluated, (name, value); `reals` as for `Scores.table`."""
    tables = {name: scores.table(degradation=name, reals=reals) for name in scores.degradations}
    clean = tables[NOT_DEGRADED]
    mean = clean.mean
    facts = [
        ("Accuracy, mean of subsets", percent_of(mean["accuracy"])),
        ("AP, mean of subsets", percent_of(mean["ap"])),
        ("Reals called real", percent_of(mean["real_accuracy"])),
        ("Fakes called fake", percent_of(mean["fake_accuracy"])),
        ("Images", f"{mean['count']:,}"),
    ]
    lead = html.facts(facts) + "".join(html.note(html.text(note), "bad") for note in clean.notes)
    sections = [_figures(clean)]
    if len(scores.degradations) > 1:
        sections += [_robustness(tables)]
    sections += [_most_wrong(scores), _conditions(about)]
    return html.page(f"Evaluation of {model}", lead=lead, sections=sections, footer=footer)


def percent_of(value: float | None) -> str:
    return percent(float("nan") if value is None else value)


def _figures(table: Table) -> Section:
    rows = [
        [row["group"], f"{row['count']:,}", *(_heat(row[name], name) for name in _SHOWN)]
        for row in (*table.rows, table.mean)
    ]
    columns = ["subset", "images", *map(heading, _SHOWN)]
    section = Section("By subset").add(
        html.paragraph(
            "In percent. A score above 0.5 calls an image fake. The mean is that of the subsets, each counted alike.",
            *table.sentences()[len(table.notes) :],  # the notes are at the head of the page
        ),
        html.table("The figures of each subset", columns, rows, numeric=range(1, len(columns))),
    )
    return section.add(html.figure("Accuracy by subset", table.bars("accuracy")))


#: Of a figure the value that has no colour, and the one that has the full colour; _CHANCE for others.
_RANGES = {"eer": (0.5, 0.0), "tpr_at_5_fpr": (0.0, 1.0)}
_CHANCE = (0.5, 1.0)


def _heat(value: float | None, name: str = "accuracy") -> Cell:
    """A cell that has more colour the better a figure is."""
    none, full = _RANGES.get(name, _CHANCE)
    colour = None if value is None else min(1.0, max(0.0, (value - none) / (full - none)))
    return Cell(share(value), style_class="heat", share=colour)


def _robustness(tables: Mapping[str, Table]) -> Section:
    section = Section("By degradation").add(
        html.paragraph('In percent; "none" are the images as they are. The colour is stronger for more, from 50 % on.')
    )
    has_ap = any(table.mean["ap"] is not None for table in tables.values())
    for value in ("accuracy", "ap") if has_ap else ("accuracy",):
        groups = [row["group"] for row in tables[NOT_DEGRADED].rows]
        rows = [
            [name, *(_heat(table.row(group)[value]) for group in groups), _heat(table.mean[value])]
            for name, table in tables.items()
        ]
        columns = ["degradation", *groups, "mean"]
        caption = f"{_headline(value)} of each subset under each degradation"
        section.add(html.table(caption, columns, rows, numeric=range(1, len(columns))))
    means = {name: table.mean for name, table in tables.items()}
    drawn = [_curve(kind, points, means[NOT_DEGRADED]) for kind, points in _curves(means)]
    if drawn:
        legend = [("fake", "AP")] * has_ap + [("real", "accuracy")]
        caption = "Mean of the subsets over the strength of a degradation; thin lines are the images as they are"
        section.add(html.figure(caption, drawn, legend=legend))
    return section


def _headline(name: str) -> str:
    """A figure's name at the start of a sentence."""
    text = heading(name)
    return text[0].upper() + text[1:]


def _curves(means: dict[str, Row]) -> Iterator[tuple[str, list[tuple[float, Row]]]]:
    """Kinds of degradation that come in several strengths: their (strength, mean row), rising."""
    found: dict[str, list[tuple[float, Row]]] = defaultdict(list)
    for name, mean in means.items():
        kind, colon, rest = name.partition(":")
        strength, _, how = rest.partition(":")
        if colon and "+" not in name:
            found[f"{kind}:{how}" if how else kind].append((float(strength), mean))
    for kind, points in found.items():
        if len(points) > 1:
            yield kind, sorted(points, key=lambda point: point[0])


def _curve(kind: str, points: list[tuple[float, Row]], clean: Row) -> str:
    at = [strength for strength, _ in points]
    shown = "; ".join(f"{strength:g}: AP {share(mean['ap'])}" for strength, mean in points)
    series = [Series("accuracy", "real", [mean["accuracy"] for _, mean in points], dash=True)]
    if all(mean["ap"] is not None for _, mean in points):  # none without reals, or without fakes
        series.insert(0, Series("AP", "fake", [mean["ap"] for _, mean in points]))
    levels = [(css, clean[name]) for css, name in (("fake", "ap"), ("real", "accuracy")) if clean[name] is not None]
    return charts.lines(
        kind,
        shown,
        at,
        series,
        x_label=kind,
        write=lambda value: percent(value, 0),
        low=min(at, default=0),
        high=1.0,
        levels=levels,
    )


def _most_wrong(scores: Scores) -> Section:
    p, fake = scores.of(NOT_DEGRADED), scores.fakes()
    section = Section("Most wrong").add(
        html.paragraph("Of the images as they are, those whose score was farthest from their label.")
    )
    for label, wrong in ((REAL, (p > 0.5) & ~fake), (FAKE, (p <= 0.5) & fake)):
        found = np.flatnonzero(wrong)
        rows = found[np.argsort(-abs(p[found] - fake[found]), kind="stable")][:_MOST_WRONG].tolist()
        if not rows:
            section.add(html.paragraph(f"No {label} was called wrong."))
            continue
        pictures = "".join(_picture(scores, row, float(p[row])) for row in rows)
        section.add(f'<p class="tag {label}">{label}s called {FAKE if label == REAL else REAL}</p>')
        section.add(f'<ul class="sheet">{pictures}</ul>')
    return section


def _picture(scores: Scores, row: int, p: float) -> str:
    sample = scores.dataset[row]
    about = f"{html.text(sample.generator)}, score {p:.3f}"
    try:
        address = data_address(encode_png(shrink(sample.image, _SIDE)))
    except DecodeError:
        return f'<li title="{html.text(sample.key)}"><div class="missing">unreadable</div>{about}</li>'
    alt = html.text(f"{sample.label} of {sample.generator}, {sample.key}")
    return f'<li title="{html.text(sample.key)}"><img src="{address}" alt="{alt}">{about}</li>'


def _conditions(about: Sequence[tuple[str, object]]) -> Section:
    return Section("How it was evaluated").add(html.table("Options and versions", ("", "value"), about))
