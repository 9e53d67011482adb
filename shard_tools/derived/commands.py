"""The commands `drop`, `subset` and `export`."""

from __future__ import annotations

from dataclasses import asdict

import click

from genimage_stream import command_line
from shard_tools.errors import ToolError
from shard_tools.terminal.commands import DESTINATION, JSON, end, print_json, words


def add_commands(app: click.Group) -> None:
    for command in (drop, subset, export):
        app.add_command(command)


@click.command(short_help="Remove generators from a dataset.")
@DESTINATION
@click.option("--generators", required=True, metavar="A,B", help="The generators to remove, with their shards.")
@JSON
def drop(destination: str, generators: str, as_json: bool) -> None:
    """Remove generators, with their shards, from a finished dataset. `pack` brings them back from their sources."""

    def work() -> int:
        from shard_tools.derived.drop import drop as drop_generators
        from shard_tools.layout.words import generator_name
        from shard_tools.terminal.text import counted

        names = words(generators)
        if not names:
            raise ToolError("--generators: name at least one")
        done = drop_generators(destination, {generator_name(name) for name in names})
        if as_json:
            print_json(asdict(done))
        else:
            gone = ", ".join(done.generators)
            left = f"{counted(done.samples, 'sample')} in {counted(done.shards, 'shard')}"
            command_line.line(f"{done.destination}: without {gone}; {left}")
        return 0

    end(work, as_json, "interrupted; run the same command again to go on")


WHERE = click.option(
    "--where",
    metavar="EXPR",
    help="Only samples that meet this, e.g. \"generator == 'sd14' and width >= 512\"; columns are those of the index.",
)


@click.command(short_help="Write a smaller dataset.")
@DESTINATION
@click.argument("out", metavar="OUT")
@WHERE
@click.option("--workers", type=click.IntRange(min=0), default=0, help="Parallel workers; 0: one per core.")
@JSON
def subset(destination: str, out: str, where: str | None, workers: int, as_json: bool) -> None:
    """Write the samples of DST that meet --where as a dataset OUT, in shards of its own; run again, it goes on.

    \b
    generator == 'sd14' and width >= 512        and, or, not, parentheses
    split == 'val' and format in ('jpeg', 'png')
    jpeg_quality is None or jpeg_quality < 90
    """

    def work() -> int:
        from shard_tools.derived.subset import subset as write_subset
        from shard_tools.terminal.progress import make_progress
        from shard_tools.terminal.text import counted, size_text

        if where is None:
            raise ToolError("--where is missing: say which samples, e.g. --where \"split == 'val'\"")
        progress = make_progress()
        try:
            done = write_subset(destination, out, where, workers, progress)
        finally:
            progress.end()
        if as_json:
            print_json(asdict(done))
        else:
            if done.state == "finished":
                command_line.line(f"{done.destination} is finished already; nothing to do")
            held = f"{counted(done.samples, 'sample')} in {counted(done.shards, 'shard')}"
            command_line.line(f"{done.destination}: {held}, {size_text(done.size_bytes)}")
        return 0

    end(work, as_json, "interrupted; nothing half-written is left, run the same command again to go on")


@click.command(short_help="Give the files back.")
@DESTINATION
@click.argument("folder", metavar="FOLDER")
@WHERE
@JSON
def export(destination: str, folder: str, where: str | None, as_json: bool) -> None:
    """Write the images of DST to FOLDER under the names that they had before packing."""

    def work() -> int:
        from shard_tools.derived.export import export as write_files
        from shard_tools.terminal.progress import make_progress
        from shard_tools.terminal.text import counted, print_problems, size_text

        progress = make_progress()
        try:
            done = write_files(destination, folder, where, progress)
        finally:
            progress.end()
        if as_json:
            print_json(asdict(done))
        else:
            print_problems(done.notes, "note")
            there = f", {done.there:,} were there already" if done.there else ""
            command_line.line(f"{done.folder}: {counted(done.files, 'file')}, {size_text(done.size_bytes)}{there}")
        return 0

    end(work, as_json, "interrupted; no file is half-written, run the same command again to go on")
