"""The contact sheet: a few pictures of each generator, real and fake."""

from __future__ import annotations

from collections import defaultdict

from genimage_stream.page import html
from genimage_stream.page.html import Section
from shard_tools.report.findings import Findings
from shard_tools.report.thumbnails import Thumbnail


def section(found: Findings) -> Section:
    """Reals beside fakes, generator by generator."""
    section = Section("Contact sheet")
    if not found.thumbnails:
        return section.add(html.paragraph("No thumbnails were asked for."))
    about = "Evenly spread over each generator's shards, shrunk by the mean of areas. The text alternative is the key."
    section.add(html.paragraph(about))
    groups: dict[str, dict[str, list[Thumbnail]]] = defaultdict(lambda: defaultdict(list))
    for one in found.thumbnails:
        groups[one.generator][one.label].append(one)
    for number, (generator, labels) in enumerate(groups.items()):
        section.sub(generator)
        sheets = []
        for label, sheet in labels.items():
            name = f"sheet-{number}-{html.text(label)}"  # the tag names the list for those who do not see it above
            tag = f'<p class="tag {html.text(label)}" id="{name}">{html.text(label)}</p>'
            pictures = "".join(map(_thumbnail, sheet))
            sheets.append(f'<div>{tag}<ul class="sheet" aria-labelledby="{name}">{pictures}</ul></div>')
        section.add(html.pair(*sheets))
    return section


def _thumbnail(one: Thumbnail) -> str:
    if not one.address:
        return f'<li title="{html.text(one.key)}"><div class="missing">unreadable</div>{html.text(one.reason)}</li>'
    alt = html.text(f"{one.label} of {one.generator}, {one.key}")
    picture = f'<img src="{one.address}" alt="{alt}">'
    return f'<li title="{html.text(one.key)}">{picture}{html.text(one.description)}</li>'
