"""Mean spectra of reals and fakes, generator by generator, as pictures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from genimage_stream.page import html
from genimage_stream.page.html import Section
from genimage_stream.page.picture import data_address, encode_png
from shard_tools.report.findings import Findings
from shard_tools.report.sections.sheet import few
from shard_tools.report.spectra import SIDE, Spectra, Spectrum


def section(found: Findings) -> Section:
    """Four pictures for each generator: both spectra of its reals and of its fakes, gray values alike for all."""
    section = Section("Mean spectra")
    section.add(
        html.paragraph(
            "Traces of upsampling show as bright points, lines or crosses that reals do not have. Zero frequency is",
            "in the middle, the edges are half a cycle a pixel; luminance, windows of",
            f"{SIDE} x {SIDE} pixels in native resolution. The residual is an image less the mean of the 3 x 3 pixels",
            "around each pixel. Gray values mean the same in all pictures of a kind.",
        )
    )
    section.add(few(found))
    groups: dict[str, list[Spectra]] = defaultdict(list)
    for one in found.spectra:
        groups[one.generator].append(one)
    plain = _limits([one.log_mean for one in found.spectra])
    rest = _limits([one.residual for one in found.spectra])
    blocks = []
    for number, (generator, ones) in enumerate(groups.items()):
        heading = f'<h3 id="spectra-{number}">{html.text(generator)}</h3>'
        pictures = [_picture("log spectrum", one, one.log_mean, plain) for one in ones]
        pictures += [_picture("residual spectrum", one, one.residual, rest) for one in ones]
        sheet = f'<ul class="sheet" aria-labelledby="spectra-{number}">{"".join(pictures)}</ul>'
        blocks.append(f"<div>{heading}{sheet}</div>")
    return section.add(f'<div class="spectra">{"".join(blocks)}</div>')


def _limits(values: Sequence[Spectrum]) -> tuple[float, float]:
    """The values shown as black and as white."""
    low, high = np.percentile(np.stack(values), (1, 99.8))
    return float(low), float(high)


def _picture(kind: str, one: Spectra, values: Spectrum, limits: tuple[float, float]) -> str:
    low, high = limits
    gray = np.clip((values - low) / max(high - low, 1e-9) * 255, 0, 255).astype(np.uint8)
    address = data_address(encode_png(np.repeat(gray[:, :, None], 3, axis=2)))
    alt = html.text(f"mean {kind} of {one.label} images of {one.generator}")
    about = f'<b class="tag {html.text(one.label)}">{html.text(one.label)}</b> {kind}, {one.images} images'
    return f'<li><img src="{address}" alt="{alt}">{about}</li>'
