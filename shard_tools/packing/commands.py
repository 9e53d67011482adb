"""The commands `pack`, `plan` and `gather`, and the options that decide what is packed."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from genimage_stream import command_line
from genimage_stream.resources import parse_size
from shard_tools.errors import ToolError
from shard_tools.terminal.commands import DESTINATION, GENERATORS, JSON, end, print_json
from shard_tools.terminal.selecting import COLUMNS, LABELS, MAPS, SPLITS, selection

if TYPE_CHECKING:
    from shard_tools.pack import PackSummary
    from shard_tools.work import PackOptions

Command = TypeVar("Command", bound=Callable[..., Any])

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


_OPTIONS = (
    click.option("--shard-size", default="256MB", metavar="SIZE", help="Upper limit of a shard, e.g. 256MB or 1GiB."),
    click.option("--seed", default=0, help="Seed of the shuffle within each generator and split."),
    click.option(
        "--check", default="full", metavar="full|header", help="full: decode every image; header: only probe."
    ),
    click.option("--crop-ready", is_flag=True, help="Recode losslessly for fast crops."),
    click.option(
        "--png-level",
        type=click.IntRange(0, 9),
        show_default="4 with --crop-ready",
        help="Of crop-ready PNGs: 0 stored, largest and fastest; 9 smallest.",
    ),
    GENERATORS,
    SPLITS,
    MAPS,
    COLUMNS,
    LABELS,
    click.option(
        "--keep",
        metavar="A,B",
        help="Further columns or sidecars of the images, e.g. prompt, for the index (x_prompt).",
    ),
    click.option(
        "--allow-missing-volumes",
        is_flag=True,
        help="Pack what is there although volumes of archives are missing or folders cannot be listed.",
    ),
    click.option("--license", "terms", metavar="TEXT", help="License of the images, for the dataset card."),
)


def _decides(command: Command) -> Command:
    """Give a command the options that decide what is packed; it passes them to `pack_options`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def pack_options(
    *,
    shard_size: str,
    seed: int,
    check: str,
    crop_ready: bool,
    png_level: int | None,
    generators: str | None,
    splits: str | None,
    maps: Sequence[str],
    columns: str | None,
    labels: str | None,
    keep: str | None,
    allow_missing_volumes: bool,
    terms: str | None,
) -> PackOptions:
    """Raises ToolError for values that are none."""
    from shard_tools.inspect import CHECKS
    from shard_tools.layout.columns import parse_columns
    from shard_tools.layout.mapping import parse_mapping
    from shard_tools.work import PackOptions

    if check not in CHECKS:
        raise ToolError(f"--check {check}: choose one of {', '.join(CHECKS)}")
    return PackOptions(
        shard_bytes=shard_bytes(shard_size),
        seed=seed,
        check="header" if check == "header" else "full",
        crop_ready=crop_ready,
        png_level=png_level,
        allow_missing_volumes=allow_missing_volumes,
        license=_license(terms),
        mappings=tuple(parse_mapping(text) for text in maps),
        columns=parse_columns(columns, labels, keep),
        **selection(generators, splits),
    )


@click.command(short_help="Pack SRC into shards at DST, or go on with it.")
@click.argument("paths", nargs=-1, required=True, metavar="SRC... DST")
@_decides
@click.option("--workers", type=click.IntRange(min=0), default=0, help="Parallel workers; 0: one per core.")
@click.option("--engine", default="local", metavar="local|ray", help="This machine, or a Ray cluster.")
@click.option("--strict", is_flag=True, help="Exit code 1 when a file had to be quarantined.")
@click.option(
    "--add",
    multiple=True,
    metavar="SRC",
    help="Add the generators and splits of this source to a finished DST, without reading its other sources.",
)
@click.option(
    "--part",
    metavar="I/N|auto",
    help="Pack part I of N, from 1, on one of many machines; `shard-tools gather DST` finishes. auto: as the Slurm job "
    "array or the Kubernetes indexed Job says.",
)
@JSON
def pack(
    paths: Sequence[str],
    workers: int,
    engine: str,
    strict: bool,
    add: Sequence[str],
    part: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Pack SRC into shards at DST; run again after an interruption, it goes on where it was.

    SRC are one or more folders of images, or of the distributed multi-volume zips, which are read as they are; DST is
    a folder or an address, e.g. s3://bucket/folder. A finished DST gets the generators and splits that it lacks, and
    those whose files have changed are packed anew; others stay, also when SRC does not hold them any more.
    """

    def work() -> int:
        from dataclasses import replace

        from shard_tools.pack import pack as pack_sources
        from shard_tools.terminal.progress import make_progress

        _check_paths(paths, add)
        options = replace(pack_options(**given), workers=workers, engine=engine, add=bool(add))
        if part is not None:
            return _pack_part(paths, options, part, strict, as_json)
        progress = make_progress()
        try:
            done = pack_sources(add or paths[:-1], paths[-1], options, progress)
        finally:
            progress.end()
        return _report(done, strict, as_json)

    end(work, as_json, "interrupted; nothing half-written is left, run the same command again to go on")


def _pack_part(paths: Sequence[str], options: PackOptions, text: str, strict: bool, as_json: bool) -> int:
    from dataclasses import asdict

    from shard_tools.packing.numbers import parse_part
    from shard_tools.packing.part import pack_part
    from shard_tools.terminal.progress import make_progress

    part = parse_part(text, os.environ)
    if options.add:
        raise ToolError("--part and --add: a finished dataset grows by one command, so omit --part")
    if strict:
        raise ToolError("--part and --strict: give --strict to `shard-tools gather`, which knows of all parts")
    progress = make_progress()
    try:
        done = pack_part(paths[:-1], paths[-1], options, part, progress)
    finally:
        progress.end()
    if as_json:
        print_json(asdict(done))
    elif done.state == "finished":
        command_line.line(f"{done.destination} is finished already; nothing to do for part {part}")
    elif done.state == "done":
        command_line.line(f"{done.destination}: part {part} is done already; nothing to do")
    else:
        command_line.line(
            f"{done.destination}: part {part} is done: {done.samples:,} samples in {done.shards:,} shards, "
            f"{done.quarantined:,} files in quarantine; after the last part run `shard-tools gather {done.destination}`"
        )
    return 0


@click.command(short_help="Plan a DST that many machines pack in parts.")
@click.argument("paths", nargs=-1, required=True, metavar="SRC... DST")
@_decides
@JSON
def plan(paths: Sequence[str], as_json: bool, **given: Any) -> None:
    """List SRC and write the plan that `pack --part` carries out. Otherwise the first part does it.

    Give the options that decide what is packed, here and to every part.
    """

    def work() -> int:
        from dataclasses import asdict

        from shard_tools.packing.part import plan_parts
        from shard_tools.terminal.progress import make_progress

        _check_paths(paths, ())
        progress = make_progress()
        try:
            done = plan_parts(paths[:-1], paths[-1], pack_options(**given), progress)
        finally:
            progress.end()
        if as_json:
            print_json(asdict(done))
        elif done.state == "finished":
            command_line.line(
                f"{done.destination} is finished already; `shard-tools pack` without --part adds what SRC has got since"
            )
        else:
            already = " already" if done.state == "unfinished" else ""
            command_line.line(
                f"{done.destination} is planned{already}: {done.files:,} files in {done.shards:,} shards; run "
                "`shard-tools pack --part I/N` with the same SRC, DST and options for each I from 1 to N, then "
                f"`shard-tools gather {done.destination}`"
            )
        return 0

    end(work, as_json, "interrupted; run the same command again")


@click.command(short_help="Finish a DST whose parts are packed.")
@DESTINATION
@click.option("--strict", is_flag=True, help="Exit code 1 when a file had to be quarantined.")
@JSON
def gather(destination: str, strict: bool, as_json: bool) -> None:
    """Finish a dataset that was packed in parts. Exit code 1, and their numbers, when some are missing."""

    def work() -> int:
        from dataclasses import asdict

        from shard_tools.packing.part import MissingPartsError, gather_parts

        try:
            done = gather_parts(destination)
        except MissingPartsError as error:
            if as_json:
                fields = {"destination": destination, "state": "unfinished", "parts": error.parts}
                print_json({**fields, "missing": error.missing, "message": str(error)})
            else:
                command_line.line(str(error))
            return 1
        if done.state == "finished":
            print_json(asdict(done)) if as_json else command_line.line(f"{done.destination} is finished already")
            return 0
        return _report(done, strict, as_json)

    end(work, as_json, "interrupted; run the same command again")


def add_pack_commands(app: click.Group) -> None:
    for command in (pack, plan, gather):
        app.add_command(command)


def _check_paths(paths: Sequence[str], add: Sequence[str]) -> None:
    if len(paths) < 2 and not add:
        raise ToolError("give at least one SRC and then DST: shard-tools pack SRC... DST")
    if "" in (*paths, *add):
        raise ToolError("one of SRC... DST is empty (a shell variable that is not set?)")


def _report(done: PackSummary, strict: bool, as_json: bool) -> int:
    """Say what a dataset is that was packed; the exit code."""
    from dataclasses import asdict

    from shard_tools.info import quarantine_info, reasons
    from shard_tools.terminal.text import counted, print_problems, print_reasons, size_text

    if as_json:
        print_json(asdict(done))
    else:
        if done.state == "finished":
            command_line.line(f"{done.destination} is finished already; nothing to do")
        elif done.state == "repaired":
            command_line.line(f"{done.destination} is whole again")
        if done.grown:
            command_line.line(f"{done.destination}: packed {', '.join(done.grown)}; the rest stays as it was")
        hint = f" (`shard-tools info {shlex.quote(done.destination)} --quarantine` lists them)"
        command_line.line(
            f"{done.destination}: {counted(done.samples, 'sample')} in {counted(done.shards, 'shard')}, "
            f"{size_text(done.size_bytes)}; {counted(done.quarantined, 'file')} in quarantine"
            f"{hint if done.quarantined else ''}, {counted(done.system_files, 'system file')} ignored"
        )
        if done.quarantined:
            print_reasons(reasons(quarantine_info(done.destination)))
        print_problems(done.lost)
    return 1 if not done.samples or done.lost or (strict and done.quarantined) else 0
