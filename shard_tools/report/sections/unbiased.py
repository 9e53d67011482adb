"""What is left of the shortcuts after `gs.unbiased`."""

from __future__ import annotations

import math

from genimage_stream.page import html
from genimage_stream.page.html import Cell, Section
from genimage_stream.page.scales import NONE, number, percent
from shard_tools.report.findings import Findings
from shard_tools.report.unbiased import Unbiasing


def section(found: Findings) -> Section:
    code = "train = genimage_stream.unbiased(dataset.select(generators=[...]), reals_from=dataset)"
    rows = [_row(one) for one in found.unbiased]
    figures = ("Facts before", "Facts after", "JPEG traces before", "JPEG traces after")
    columns = ("Generator", "Real / fake left", "Window", *figures)
    return Section("Without the shortcuts").add(
        html.paragraph(
            "The line below the table matches reals of all subsets with the fakes in size, JPEG quality and class,",
            "compresses the fakes as these reals are, and cuts windows of one size. Balanced accuracy of the best",
            "shortcut that a detector can see in the pixels, before and after; 50 % is chance.",
        ),
        html.table(
            "Each generator's images, of train where there are any", columns, rows, numeric=range(1, 7), cards=True
        ),
        f'<p><code class="copy">{html.text(code)}</code></p>',
        html.details(
            "How these figures are computed",
            html.paragraph(
                "Facts are those of the table above that stay visible in pixels, of up to 2,000 images of each label:",
                "sizes, formats, modes and JPEG qualities, after the steps as they were drawn. JPEG traces are looked",
                "for in a random window of the decoded pixels of up to 24 images of each label: whether 8x8 blocks",
                "show in coefficients of high frequency. Rules are found on one half of the images and scored on the",
                "other, both ways round, so few images leave some percent of chance.",
            ),
        ),
    )


def _row(one: Unbiasing) -> list[object]:
    if one.reason:
        return [one.generator, one.reason, *[NONE] * 5]
    left = f"{number(one.kept[0])} / {number(one.kept[1])}"
    crop = f"{one.crop} x {one.crop}" if one.crop else NONE
    return [one.generator, left, crop, *(_share(value) for value in (*one.facts, *one.traces))]


def _share(value: float) -> object:
    if math.isnan(value):
        return NONE
    return Cell(percent(value), style_class="bar", share=max(0.0, 2 * value - 1))
