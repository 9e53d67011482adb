"""Selections of the dataset as code to copy, with the images that each leaves."""

from __future__ import annotations

import numpy as np

from genimage_stream.page import html
from genimage_stream.page.html import Cell, Section
from genimage_stream.page.scales import number
from genimage_stream.vocabulary import LABELS, REAL_POOL
from shard_tools.report.findings import Findings
from shard_tools.report.statistics import Mask, Samples

CROP = 224  # what most detectors of this field are trained on


def section(found: Findings) -> Section:
    """What to copy: the parts that papers train and test on, and those without some of the shortcuts."""
    samples = found.samples
    rows = []
    for name, code, keep in _selections(samples):
        fakes = int((keep & samples.fake).sum())
        copied = Cell(html=f'<code class="copy">{html.text(f"dataset.select({code})")}</code>')
        rows.append((name, copied, number(int(keep.sum()) - fakes), number(fakes)))
    return Section("Selections to copy").add(
        html.paragraph("A click marks the whole line. Open the dataset first:"),
        f'<p><code class="copy">dataset = genimage_stream.open_dataset("{html.text(found.name)}")</code></p>',
        html.table(
            "Code, and the images that it leaves", ("What", "Code", "Real", "Fake"), rows, numeric=(2, 3), cards=True
        ),
    )


def _selections(samples: Samples) -> list[tuple[str, str, Mask]]:
    found: list[tuple[str, str, Mask]] = []
    everything = np.ones(samples.count, bool)
    splits = [split for split in ("train", "val") if split in samples.split.names]
    for generator in samples.generators:
        if generator != REAL_POOL:
            for split in splits:
                keep = samples.of(generator) & (samples.split.codes == samples.split.names.index(split))
                found.append((f"{generator}, {split}", f'generators=["{generator}"], splits=["{split}"]', keep))
    large = (samples.width >= CROP) & (samples.height >= CROP)
    found.append((f"nothing smaller than a crop of {CROP}", f"width=({CROP}, None), height=({CROP}, None)", large))
    reals, fakes = (everything & samples.of_label(label) for label in LABELS)
    if reals.any() and fakes.any():
        for side in ("width", "height"):
            values = getattr(samples, side)
            low = max(int(values[reals].min()), int(values[fakes].min()))
            high = min(int(values[reals].max()), int(values[fakes].max()))
            if low <= high:
                keep = (values >= low) & (values <= high)
                found.append((f"{side}s that both labels have", f"{side}=({low}, {high})", keep))
    if (samples.jpeg_quality >= 0).any():
        found.append(("only JPEGs of quality 90 and more", "jpeg_quality=(90, None)", samples.jpeg_quality >= 90))
    return [one for one in found if one[2].any()]
