"""Tables for people, on standard output; loads rich."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from genimage_stream.remedies import printable
from shard_tools.info import DatasetSummary, ScanSummary
from shard_tools.terminal.text import print_problems, size_text


def _console() -> Console:
    console = Console(highlight=False, soft_wrap=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=140)
    return console


def _print_table(console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]], luxury: int = 0) -> None:
    """Where it is too wide, the last `luxury` columns go, one after the other; no figure is ever cut."""
    for shown in range(len(columns), len(columns) - luxury - 1, -1):
        table = Table(box=None, pad_edge=False, header_style="bold")
        for number, column in enumerate(columns[:shown]):
            table.add_column(column, justify="left" if number < 3 else "right", no_wrap=True)
        for row in rows:
            table.add_row(*(Text(printable(cell)) for cell in row[:shown]))  # no markup of a name is carried out
        width = console.measure(table, options=console.options.update(width=1000)).maximum
        if width <= console.width:
            break
    before, console.width = console.width, max(console.width, width)
    console.print(table, crop=False)
    console.width = before


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _range(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}-{high}"


def print_scan(info: ScanSummary) -> None:
    console = _console()
    columns = ("generator", "split", "label", "files", "published", "missing", "rejected", "size")
    rows = []
    for group in info["groups"]:
        numbers = (_number(group[name]) for name in ("files", "published", "missing", "rejected"))
        rows.append((group["generator"], group["split"], group["label"], *numbers, size_text(group["size"])))
    totals = [
        sum(group[name] or 0 for group in info["groups"]) for name in ("files", "published", "missing", "rejected")
    ]
    if len(rows) > 1:
        rows.append(("total", "", "", *map(_number, totals), size_text(info["size"])))
    _print_table(console, columns, rows)
    console.print(
        f"\n{info['files']:,} files, {size_text(info['size'])}; {info['rejected']:,} rejected by name or size, "
        f"{info['system_files']:,} system files ignored"
    )
    console.print("Only names and sizes were read: pack checks the contents of every image")
    if info["other_files"]:
        others = ", ".join(f"{count} {suffix or 'without suffix'}" for suffix, count in info["other_files"].items())
        console.print(printable(f"other files, ignored: {others}"), markup=False)
    if info["missing_generators"]:
        console.print(f"not here at all: {', '.join(info['missing_generators'])}")
    for note in info["notes"]:
        console.print(printable(f"note: {note}"), markup=False, soft_wrap=True)
    print_problems(info["problems"])


def print_info(info: DatasetSummary) -> None:
    console = _console()
    columns = ("generator", "split", "label", "samples", "published", "quarantined", "size", "formats", "sides")
    rows = []
    for group in info["groups"]:
        formats = ", ".join(f"{name} {count:,}" for name, count in sorted(group.get("format", {}).items()))
        sides = ""
        if "width_min" in group:
            width, height = (group["width_min"], group["width_max"]), (group["height_min"], group["height_max"])
            sides = f"{_range(*width)} x {_range(*height)}"
        numbers = (_number(group[name]) for name in ("samples", "published", "quarantined"))
        size = size_text(group["size"])
        rows.append((group["generator"], group["split"], group["label"], *numbers, size, formats, sides))
    _print_table(console, columns, rows, luxury=2)
    console.print(
        f"\n{info['samples']:,} samples in {info['shards']:,} shards, {size_text(info['size'])}; "
        f"{info['quarantined']:,} files in quarantine; {info['without_class']:,} samples of unknown class; "
        f"seed {info['seed']}, format {info['format_version']}; {printable(_coding(info['options']))}",
        markup=False,
    )


def _coding(options: dict[str, Any]) -> str:
    if not options.get("crop_ready"):
        return "files as they were"
    return f"crop-ready, PNGs at level {options.get('png_level')}"
