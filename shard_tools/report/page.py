"""The report as one HTML page: its head, and the sections in their order."""

from __future__ import annotations

from genimage_stream.page import html
from genimage_stream.page.scales import number, percent, size
from genimage_stream.vocabulary import REAL_POOL
from shard_tools.report.findings import Findings
from shard_tools.report.sections import composition, images, quarantine, selections, sheet, shortcuts, spectra, unbiased


def render(found: Findings) -> str:
    """The whole document."""
    samples = found.samples
    sections = [
        composition.section(found),
        sheet.section(found),
        *([spectra.section(found)] if found.spectra else []),
        shortcuts.section(found),
        *([unbiased.section(found)] if found.unbiased else []),
        images.sizes(samples),
        images.encoding(samples),
        *([selections.section(found)] if samples.count else []),
        quarantine.section(found),
    ]
    fakes = int(samples.fake.sum())
    lead = html.facts(
        [
            ("Images", number(samples.count)),
            ("Real / fake", f"{number(samples.count - fakes)} / {number(fakes)}"),
            ("Generators", len([g for g in samples.generators if g != REAL_POOL])),
            ("Shards", number(samples.shards)),
            ("Image bytes", size(float(samples.size_bytes.sum()))),
            ("Quarantined files", number(len(found.quarantine))),
        ]
    )
    lead = f'<p class="lead">{html.text(headline(found))}</p>' + lead
    made = f"Made by shard-tools {found.version} from index.parquet and quarantine.parquet of {found.name}."
    if found.thumbnails:
        made += " The thumbnails are excerpts of the data set and stay under its licence."
    return html.page(f"What is in {found.name}", lead=lead, sections=sections, footer=made)


def headline(found: Findings) -> str:
    """The most telling shortcut in one sentence."""
    usable = [s for s in found.shortcuts if not s.reason]
    if not usable:
        return "Real and fake cannot be compared: there are too few images of one of them."
    best = max(usable, key=lambda s: s.best)
    if best.best < 0.55:
        return "No property of the files alone separates real from fake."
    how = f"separates real from fake with {percent(best.best)} accuracy"
    return f"Without a look at the picture, the {_lower(best.feature.name)} alone {how}; a coin has 50 %."


def _lower(name: str) -> str:
    return name if name.startswith("JPEG") else name[0].lower() + name[1:]
