"""How well single properties separate real from fake: overall and within each generator."""

from __future__ import annotations

import math

from genimage_stream.page import charts, html
from genimage_stream.page.html import Cell, Section
from genimage_stream.page.scales import NONE, percent
from genimage_stream.vocabulary import REAL_POOL
from shard_tools.report.findings import Findings
from shard_tools.report.shortcuts import Shortcut


def section(found: Findings) -> Section:
    section = Section("Shortcuts a detector could take").add(
        html.paragraph(
            "How well does one property of the file, without a look at the picture, tell real from fake?",
            "Whatever scores high here can be learned instead of the traces of a generator, and a test on data with",
            "the same bias will not show it.",
        )
    )
    usable = sorted((s for s in found.shortcuts if not s.reason), key=lambda s: -s.best)
    if usable:
        chart = charts.bars(
            "Balanced accuracy of one property alone",
            "Horizontal bars from 50 percent, chance, to 100 percent; the table below holds the numbers.",
            [(s.feature.name, [max(0.5, s.best)]) for s in usable],
            ["third"],
            write=percent,
            low=0.5,
            high=1.0,
        )
        section.add(html.figure("Accuracy of one property alone, all generators together (50 % is chance)", chart))
    rows = [_row(s) for s in sorted(found.shortcuts, key=lambda s: (bool(s.reason), -s.best if not s.reason else 0))]
    columns = ("Property", "Verdict", "Threshold", "Look-up", "AUC", "Best rule", "What takes it away")
    section.add(
        html.table(
            "Every property, all generators together", columns, rows, numeric=(2, 3, 4), cards=True, brief=(1, 5)
        )
    )
    section.sub(
        "Each generator on its own",
        html.paragraph(
            "A detector is usually trained on one generator. Accuracy of the better rule within each subset:"
        ),
        _matrix(found),
    )
    if found.borrowed_reals:
        names = ", ".join(found.borrowed_reals)
        section.add(
            html.paragraph(f"No reals of their own have {names}: compared with the pool of reals ({REAL_POOL}).")
        )
    return section.add(
        html.details(
            "How these figures are computed",
            html.paragraph(
                "Accuracy is balanced: the mean of the shares of reals and of fakes classified correctly. Threshold",
                "is the best single cut of a number; look-up answers each value by what was more frequent for it (for",
                "file size and bytes per pixel: each of up to 256 ranges). Rules are found on one half of the images",
                "and scored on the other, both ways round. AUC is the area under the ROC curve of the number itself,",
                "or of the look-up where there is no number: 1 is perfect, 0.5 is chance.",
            ),
        )
    )


def verdict(accuracy: float) -> str:
    for limit, words in ((0.99, "gives it away"), (0.9, "very strong"), (0.7, "strong"), (0.55, "weak")):
        if accuracy >= limit:
            return words
    return "none"


def _row(s: Shortcut) -> list[object]:
    why = f"{html.text(s.feature.name)}<small>{html.text(s.feature.why)}</small>"
    head = Cell(html=why)
    remedy = Cell(html=f"<small>{html.text(s.feature.remedy)}</small>")
    if s.reason:
        return [head, NONE, NONE, NONE, NONE, s.reason, remedy]
    figures = [
        NONE if math.isnan(v) else Cell(percent(v), style_class="bar", share=2 * v - 1)
        for v in (s.threshold, s.look_up)
    ]
    return [head, verdict(s.best), *figures, f"{s.auc:.3f}", s.rule, remedy]


_MOST_COLUMNS = 60  # generators in one table


def _matrix(found: Findings) -> str:
    names = list(found.by_generator)
    left_out = len(names) - _MOST_COLUMNS
    if left_out > 0:  # the most telling ones
        worst = {name: max((s.best for s in found.by_generator[name] if not s.reason), default=0.0) for name in names}
        names = sorted(names, key=lambda name: -worst[name])[:_MOST_COLUMNS]
    rows: list[list[object]] = []
    for place, overall in enumerate(found.shortcuts):
        row: list[object] = [overall.feature.name]
        for name in names:
            s = found.by_generator[name][place]
            filled = Cell(percent(s.best, 0), style_class="heat", share=max(0.0, 2 * s.best - 1))
            row.append(Cell(NONE) if s.reason else filled)
        rows.append(row)
    caption = f"Accuracy of one property alone, within each generator ({NONE} where one label has too few images)"
    if left_out > 0:
        caption += f"; of {len(names) + left_out:,} generators the {len(names)} with the highest accuracy"
    return html.table(caption, ["Property", *names], rows, numeric=range(1, len(names) + 1))
