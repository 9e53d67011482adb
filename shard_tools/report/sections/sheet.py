"""The contact sheet: a few pictures of each generator, real and fake side by side; and their keys."""

from __future__ import annotations

import zlib
from collections import defaultdict

from genimage_stream.page import html
from genimage_stream.page.html import Cell, Section
from genimage_stream.vocabulary import REAL
from shard_tools.report.findings import Findings
from shard_tools.report.thumbnails import SIDE, Thumbnail, pictured


def section(found: Findings) -> Section:
    """Reals beside fakes of the same class, generator by generator."""
    section = Section("Real and fake side by side")
    if not found.thumbnails:
        return section.add(html.paragraph("No thumbnails were asked for."))
    section.add(
        html.paragraph(
            f"The middle of each image in native resolution, {SIDE} pixels at most: shrinking would remove the traces",
            "of generators. A real stands left of a fake of the same class where both are there. Click to enlarge.",
        )
    )
    section.add(few(found))
    groups: dict[str, list[Thumbnail]] = defaultdict(list)
    for one in found.thumbnails:
        groups[one.generator].append(one)
    for number, (generator, sheet) in enumerate(groups.items()):
        name = f"sheet-{number}"
        section.add(f'<h3 id="{name}">{html.text(generator)}</h3>')
        pictures = "".join(
            _thumbnail(one, name) for one in sorted(sheet, key=lambda one: (one.pair, one.label != REAL))
        )
        section.add(f'<ul class="sheet" aria-labelledby="{name}">{pictures}</ul>')
    return section.add(html.details("Find one of these by its key", _keys(found.thumbnails)))


def few(found: Findings) -> str:
    """A paragraph where pictures are of a few generators; "" where they are of all."""
    generators = found.samples.generators
    if len(shown := pictured(generators)) == len(generators):
        return ""
    return html.paragraph(
        f"Of {len(shown)} of the {len(generators):,} generators, evenly spread. For others, make a smaller dataset of",
        "them with `shard-tools subset --where`, and its report.",
    )


def _anchor(one: Thumbnail) -> str:
    return f"image-{zlib.crc32(f'{one.generator} {one.key}'.encode('utf-8', 'replace')):08x}"


def _thumbnail(one: Thumbnail, sheet: str) -> str:
    tag = f'<b class="tag {html.text(one.label)}">{html.text(one.label)}</b> '
    about = f"{tag}{html.text(one.description)}<small>{html.text(one.class_name)}</small>"
    if not one.address:
        missing = f'<div class="missing">unreadable</div>{about} {html.text(one.reason)}'
        return f'<li title="{html.text(one.key)}">{missing}</li>'
    alt = html.text(f"{one.label} of {one.generator}, {one.key}")
    name = _anchor(one)
    picture = f'<a href="#{name}"><img src="{one.address}" alt="{alt}"></a>'
    code = f'dataset["{one.key}"]'
    key = f'<span class="more"><code class="copy">{html.text(code)}</code> <a href="#{sheet}">Close</a></span>'
    return f'<li id="{name}" title="{html.text(one.key)}">{picture}{about}{key}</li>'


def _keys(thumbnails: list[Thumbnail]) -> str:
    rows = []
    for one in thumbnails:
        key = f'<a href="#{_anchor(one)}">{html.text(one.key)}</a>' if one.address else html.text(one.key)
        rows.append(
            (
                Cell(html=key),
                one.generator,
                one.label,
                one.class_name,
                one.description,
                Cell(html=f"<code>{html.text(one.place)}</code>"),
            )
        )
    return html.table("The images shown, by key", ("Key", "Generator", "Label", "Class", "Image", "Shard"), rows)
