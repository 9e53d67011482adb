"""The command line: `shard-tools scan | verify | info | report`; `pack`, `plan` and `gather` are in packing/, `drop`,
`subset` and `export` in derived/.

Exit codes: 0 done; 1 problems found (verify; pack when none of a generator's split and label, or nothing at all, could
be packed; pack --strict with quarantined files; gather with parts missing); 2 wrong usage or input that cannot be read
at all; more in genimage_stream/command_line.py. Results go to standard output, progress and messages to standard error.
"""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Sequence

import click

from genimage_stream import command_line
from shard_tools.derived.commands import add_commands
from shard_tools.packing.commands import add_pack_commands
from shard_tools.terminal.commands import DESTINATION, GENERATORS, JSON, end, print_json
from shard_tools.terminal.selecting import COLUMNS, LABELS, MAPS, SOURCES, SPLITS, selection


class _InOrder(click.Group):
    """Commands in the order in which they are used, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_InOrder, context_settings=command_line.SETTINGS)
@command_line.VERSION
def app() -> None:
    """Turn GenImage folders and archives into WebDataset shards."""


@app.command(short_help="Show what is there and what is wrong with it.")
@SOURCES
@MAPS
@COLUMNS
@LABELS
@GENERATORS
@SPLITS
@JSON
def scan(
    sources: Sequence[str],
    maps: Sequence[str],
    columns: str | None,
    labels: str | None,
    generators: str | None,
    splits: str | None,
    as_json: bool,
) -> None:
    """Show what is there, per generator, split and label, and what is wrong. Writes nothing.

    SRC are folders of images, or of the distributed multi-volume zips, which are read as they are.
    """

    def work() -> int:
        from shard_tools.info import listing_info
        from shard_tools.layout.columns import parse_columns
        from shard_tools.layout.mapping import parse_mapping
        from shard_tools.scan import scan as scan_sources
        from shard_tools.terminal.progress import make_progress
        from shard_tools.terminal.tables import print_scan

        mappings = [parse_mapping(text) for text in maps]
        progress = make_progress()
        try:
            listing = scan_sources(
                sources,
                mappings=mappings,
                columns=parse_columns(columns, labels),
                found=progress.found,
                **selection(generators, splits),
            )
        finally:
            progress.end()
        info = listing_info(listing, list(sources))
        print_json(info) if as_json else print_scan(info)
        return 0

    end(work, as_json)


add_pack_commands(app)


@app.command()
@DESTINATION
@click.option("--decode", is_flag=True, help="Decode every image as well.")
@click.option("--workers", type=click.IntRange(min=0), default=0, help="Threads; 0: one per core.")
@JSON
def verify(destination: str, decode: bool, workers: int, as_json: bool) -> None:
    """Compare every byte with the index. Exit code 0 when everything is intact, 1 when not."""

    def work() -> int:
        from shard_tools.terminal.progress import make_progress
        from shard_tools.terminal.text import counted, print_problems, size_text
        from shard_tools.verify import verify as verify_dataset

        found = verify_dataset(destination, make_progress(), decode=decode, threads=workers)
        if as_json:
            fields = ("destination", "intact", "samples", "shards", "size_bytes", "decoded", "problems", "notes")
            print_json({name: getattr(found, name) for name in fields})
        else:
            print_problems(found.problems)
            print_problems(found.notes, "note")
            verdict = "intact" if found.intact else f"NOT intact: {counted(len(found.problems), 'problem')}"
            what = f"{counted(found.samples, 'sample')} in {counted(found.shards, 'shard')}"
            command_line.line(
                f"{found.destination} is {verdict}; {what}, "
                f"{size_text(found.size_bytes)} read{' and decoded' if decode else ''}"
            )
            if not found.intact:
                command_line.line(
                    "To fix it, remove the damaged files (a shard with its .idx) and run the same `shard-tools pack` "
                    "again: it writes them again."
                )
        return 0 if found.intact else 1

    end(work, as_json)


@app.command(short_help="Show what a dataset is made of.")
@DESTINATION
@click.option("--quarantine", is_flag=True, help="List the files that were not packed, with the reasons, instead.")
@JSON
def info(destination: str, quarantine: bool, as_json: bool) -> None:
    """Show what a dataset is made of, with the published totals beside."""

    def work() -> int:
        from shard_tools.info import dataset_info, quarantine_info, reasons
        from shard_tools.terminal.tables import print_info
        from shard_tools.terminal.text import counted, print_reasons

        if quarantine:
            files = quarantine_info(destination)
            if as_json:
                print_json({"destination": destination, "quarantined": len(files), "files": files})
                return 0
            for file in files:
                command_line.line(f"{file['source']}: {file['reason']}")
            command_line.line(f"{destination}: {counted(len(files), 'file')} in quarantine")
            print_reasons(reasons(files))
            return 0
        facts = dataset_info(destination)
        print_json(facts) if as_json else print_info(facts)
        return 0

    end(work, as_json)


@app.command(short_help="Write a page about a dataset and its biases.")
@DESTINATION
@click.option("--html", required=True, metavar="FILE", help="The page to write.")
@click.option("--thumbnails", type=click.IntRange(min=0), default=4, help="Pictures per generator and label; 0: none.")
@click.option("--spectra", type=click.IntRange(min=0), default=64, help="Images per mean spectrum; 0: no spectra.")
@JSON
def report(destination: str, html: str, thumbnails: int, spectra: int, as_json: bool) -> None:
    """Write a page about a dataset: composition, sizes, quality, and what alone separates real from fake."""

    def work() -> int:
        from shard_tools.report.write import report as write_report

        found = write_report(destination, html, thumbnails=thumbnails, images=spectra)
        for what, lost in (("shards", found["missing_shards"]), ("thumbnails", found["unreadable_thumbnails"])):
            if lost:
                few = f"{len(lost):,} {what if len(lost) > 1 else what[:-1]} cannot be read, the first is {lost[0]}"
                command_line.line(f"shard-tools: {few}; `shard-tools verify {destination}` lists all", sys.stderr)
        if as_json:
            print_json(found)
        else:
            command_line.line(f"{html}: {found['headline']}")
        return 0

    end(work, as_json)


add_commands(app)


def collect_garbage_rarely() -> None:
    """Packing makes millions of small records and hardly a cycle, and at the end none has to be looked for."""
    gc.set_threshold(100_000, 20, 100)
    atexit.register(gc.freeze)


def main() -> None:
    collect_garbage_rarely()
    command_line.start(app, "shard-tools")


if __name__ == "__main__":
    main()
