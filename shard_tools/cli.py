"""The command line: `shard-tools scan | pack | verify | info | report`; `drop`, `subset` and `export` are in derived/.

Exit codes: 0 done; 1 problems found (verify; pack when none of a generator's split and label, or nothing at all, could
be packed; pack --strict with quarantined files); 2 wrong usage or input that cannot be read at all; more in
genimage_stream/command_line.py. Results go to standard output, progress and messages to standard error.
"""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Sequence
from typing import Any

import click

from genimage_stream import command_line
from genimage_stream.resources import parse_size
from shard_tools.derived.commands import add_commands
from shard_tools.errors import ToolError
from shard_tools.terminal.commands import DESTINATION, GENERATORS, JSON, end, print_json, words


class _InOrder(click.Group):
    """Commands in the order in which they are used, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_InOrder, context_settings=command_line.SETTINGS)
@command_line.VERSION
def app() -> None:
    """Turn GenImage folders and archives into WebDataset shards."""


SOURCES = click.argument("sources", nargs=-1, required=True, metavar="SRC...")
MAPS = click.option(
    "--map",
    "maps",
    multiple=True,
    metavar="FOLDER=generator:split:label",
    help="What a folder holds, where its name does not say. FOLDER is a path within SRC, or absolute, in any letter "
    "case; '.' is SRC itself, and * and ? stand for parts of a name. Parts may be left empty. Where several match, "
    "the most specific folder wins; names of folders below it that say a label or a split are kept.",
)
COLUMNS = click.option(
    "--columns",
    metavar="image=NAME,generator=NAME,...",
    help="The columns of tables (or members of WebDataset samples) that are the image, path, generator, split, label.",
)
LABELS = click.option(
    "--labels", metavar="0=real,1=fake", help="What the values of a label column mean, where no word says it."
)
KEEP = click.option(
    "--keep", metavar="A,B", help="Further columns or sidecars of the images, e.g. prompt, for the index (x_prompt)."
)
SPLITS = click.option("--splits", metavar="train,val", help="Only these splits.")

_PLAIN = 10_000  # bytes; who writes fewer without a unit means megabytes
_LONGEST = 1000  # characters of a license
_LARGEST = 1e15  # bytes; GenImage has 6e11


def shard_bytes(text: str) -> int:
    """Bytes of `--shard-size`, e.g. `256MB`. Raises ToolError."""
    try:
        size = parse_size(text)
    except (ValueError, OverflowError):
        size = 0
    if text.strip().isdigit() and 1 <= size < _PLAIN:
        raise ToolError(f"--shard-size {text}: that is {size} bytes; give the unit, e.g. {text.strip()}MB")
    if not 1 <= size <= _LARGEST:
        raise ToolError(f"--shard-size {text}: write a size like 256MB or 1GiB")
    return size


def _license(text: str | None) -> str | None:
    """`--license`, one line for the dataset card. Raises ToolError."""
    if text is not None and not (text.strip() and text.isprintable() and len(text) <= _LONGEST):
        raise ToolError(f"--license {text!r}: give one line of text, e.g. cc-by-4.0")
    return text.strip() if text is not None else None


def _selection(generators: str | None, splits: str | None) -> dict[str, Any]:
    from genimage_stream.vocabulary import alias
    from shard_tools.layout.words import generator_name

    names = words(generators)
    parts = words(splits)
    for option, given in (("--generators", names), ("--splits", parts)):
        if given == ():
            raise ToolError(f"{option}: name at least one, or omit the option")
    meant = [alias("split", part) for part in parts or ()]
    if None in meant:
        raise ToolError(f"--splits {splits}: {(parts or ())[meant.index(None)]!r} is neither train nor val")
    return {
        "generators": tuple(generator_name(name) for name in names) if names else None,
        "splits": tuple(dict.fromkeys(filter(None, meant))) or None,
    }


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
                **_selection(generators, splits),
            )
        finally:
            progress.end()
        info = listing_info(listing, list(sources))
        print_json(info) if as_json else print_scan(info)
        return 0

    end(work, as_json)


@app.command(short_help="Pack SRC into shards at DST, or go on with it.")
@click.argument("paths", nargs=-1, required=True, metavar="SRC... DST")
@click.option("--shard-size", default="256MB", metavar="SIZE", help="Upper limit of a shard, e.g. 256MB or 1GiB.")
@click.option("--seed", default=0, help="Seed of the shuffle within each generator and split.")
@click.option("--workers", type=click.IntRange(min=0), default=0, help="Parallel workers; 0: one per core.")
@click.option("--check", default="full", metavar="full|header", help="full: decode every image; header: only probe.")
@click.option("--crop-ready", is_flag=True, help="Recode losslessly for fast crops.")
@click.option(
    "--png-level",
    type=click.IntRange(0, 9),
    show_default="4 with --crop-ready",
    help="Of crop-ready PNGs: 0 stored, largest and fastest; 9 smallest.",
)
@click.option("--engine", default="local", metavar="local|ray", help="This machine, or a Ray cluster.")
@GENERATORS
@SPLITS
@MAPS
@COLUMNS
@LABELS
@KEEP
@click.option(
    "--allow-missing-volumes",
    is_flag=True,
    help="Pack what is there although volumes of archives are missing or folders cannot be listed.",
)
@click.option("--strict", is_flag=True, help="Exit code 1 when a file had to be quarantined.")
@click.option(
    "--add",
    multiple=True,
    metavar="SRC",
    help="Add the generators and splits of this source to a finished DST, without reading its other sources.",
)
@click.option("--license", "terms", metavar="TEXT", help="License of the images, for the dataset card.")
@JSON
def pack(
    paths: Sequence[str],
    shard_size: str,
    seed: int,
    workers: int,
    check: str,
    crop_ready: bool,
    png_level: int | None,
    engine: str,
    generators: str | None,
    splits: str | None,
    maps: Sequence[str],
    columns: str | None,
    labels: str | None,
    keep: str | None,
    allow_missing_volumes: bool,
    strict: bool,
    add: Sequence[str],
    terms: str | None,
    as_json: bool,
) -> None:
    """Pack SRC into shards at DST; run again after an interruption, it goes on where it was.

    SRC are one or more folders of images, or of the distributed multi-volume zips, which are read as they are; DST is
    a folder or an address, e.g. s3://bucket/folder. A finished DST gets the generators and splits that it lacks, and
    those whose files have changed are packed anew; others stay, also when SRC does not hold them any more.
    """

    def work() -> int:
        from dataclasses import asdict

        from shard_tools.info import quarantine_info, reasons
        from shard_tools.inspect import CHECKS
        from shard_tools.layout.columns import parse_columns
        from shard_tools.layout.mapping import parse_mapping
        from shard_tools.pack import pack as pack_sources
        from shard_tools.terminal.progress import make_progress
        from shard_tools.terminal.text import print_problems, print_reasons, size_text
        from shard_tools.work import PackOptions

        if len(paths) < 2 and not add:
            raise ToolError("give at least one SRC and then DST: shard-tools pack SRC... DST")
        if "" in (*paths, *add):
            raise ToolError("one of SRC... DST is empty (a shell variable that is not set?)")
        if check not in CHECKS:
            raise ToolError(f"--check {check}: choose one of {', '.join(CHECKS)}")
        options = PackOptions(
            shard_bytes=shard_bytes(shard_size),
            seed=seed,
            workers=workers,
            check="header" if check == "header" else "full",
            crop_ready=crop_ready,
            png_level=png_level,
            engine=engine,
            allow_missing_volumes=allow_missing_volumes,
            add=bool(add),
            license=_license(terms),
            mappings=tuple(parse_mapping(text) for text in maps),
            columns=parse_columns(columns, labels, keep),
            **_selection(generators, splits),
        )
        progress = make_progress()
        try:
            done = pack_sources(add or paths[:-1], paths[-1], options, progress)
        finally:
            progress.end()
        if as_json:
            print_json(asdict(done))
        else:
            if done.state == "finished":
                command_line.line(f"{done.destination} is finished already; nothing to do")
            elif done.state == "repaired":
                command_line.line(f"{done.destination} is whole again")
            if done.grown:
                command_line.line(f"{done.destination}: packed {', '.join(done.grown)}; the rest stays as it was")
            command_line.line(
                f"{done.destination}: {done.samples:,} samples in {done.shards:,} shards, "
                f"{size_text(done.size_bytes)}; {done.quarantined:,} files in quarantine "
                f"(`shard-tools info --quarantine` lists them), {done.system_files:,} system files ignored"
            )
            if done.quarantined:
                print_reasons(reasons(quarantine_info(paths[-1])))
            print_problems(done.lost)
        return 1 if not done.samples or done.lost or (strict and done.quarantined) else 0

    end(work, as_json, "interrupted; nothing half-written is left, run the same command again to go on")


@app.command()
@DESTINATION
@click.option("--decode", is_flag=True, help="Decode every image as well.")
@click.option("--workers", type=click.IntRange(min=0), default=0, help="Threads; 0: one per core.")
@JSON
def verify(destination: str, decode: bool, workers: int, as_json: bool) -> None:
    """Compare every byte with the index. Exit code 0 when everything is intact, 1 when not."""

    def work() -> int:
        from shard_tools.terminal.progress import make_progress
        from shard_tools.terminal.text import print_problems, size_text
        from shard_tools.verify import verify as verify_dataset

        found = verify_dataset(destination, make_progress(), decode=decode, threads=workers)
        if as_json:
            fields = ("destination", "intact", "samples", "shards", "size_bytes", "decoded", "problems", "notes")
            print_json({name: getattr(found, name) for name in fields})
        else:
            print_problems(found.problems)
            print_problems(found.notes, "note")
            verdict = "intact" if found.intact else f"NOT intact: {len(found.problems)} problems"
            command_line.line(
                f"{found.destination} is {verdict}; {found.samples:,} samples in {found.shards:,} shards, "
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
        from shard_tools.terminal.text import print_reasons

        if quarantine:
            files = quarantine_info(destination)
            if as_json:
                print_json({"destination": destination, "quarantined": len(files), "files": files})
                return 0
            for file in files:
                command_line.line(f"{file['source']}: {file['reason']}")
            command_line.line(f"{destination}: {len(files):,} files in quarantine")
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
