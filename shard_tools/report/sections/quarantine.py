"""Files that were not packed, and why."""

from __future__ import annotations

from collections import Counter

from genimage_stream.page import html
from genimage_stream.page.html import Cell, Section
from genimage_stream.page.scales import NONE, number, percent
from shard_tools.report.findings import Findings

LISTED = 200  # files shown by name


def section(found: Findings) -> Section:
    section = Section("Quarantined files")
    if not found.quarantine:
        return section.add(html.note("No file was quarantined: everything found was packed.", "good"))
    reasons = Counter(_kind(row["reason"]) for row in found.quarantine)
    count = len(found.quarantine)
    section.add(
        html.paragraph(f"{number(count)} {'file was' if count == 1 else 'files were'} not packed, for these reasons.")
    )
    total = sum(reasons.values())
    ranked = [
        (reason, number(n), Cell(percent(n / total), style_class="bar", share=n / total))
        for reason, n in reasons.most_common()
    ]
    section.add(html.table("Reasons", ("Reason", "Files", "Share"), ranked[:50], numeric=(1, 2)))
    rows = [
        (
            Cell(html=f"<code>{html.text(row['source'])}</code>"),
            *(row[name] or NONE for name in ("generator", "split", "label", "reason")),
        )
        for row in found.quarantine[:LISTED]
    ]
    listing = html.table(
        "Each file that was not packed", ("File", "Generator", "Split", "Label", "Reason"), rows, cards=True
    )
    if len(found.quarantine) > LISTED:
        rest = number(len(found.quarantine) - LISTED)
        listing += html.paragraph(f"{rest} more are listed in quarantine.parquet.")
    return section.add(html.details("The files", listing))


def _kind(reason: str | None) -> str:
    """The reason without the particulars of one file (after a colon, or in brackets), so that like counts with like."""
    words = (reason or "not said").split(": ")[0].split(" (")[0]
    return words.strip() or "not said"
