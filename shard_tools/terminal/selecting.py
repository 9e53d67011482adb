"""Which files of SRC are meant, and what they are: the options that `scan` and `pack` have in common."""

from __future__ import annotations

from typing import Any

import click

from shard_tools.errors import ToolError
from shard_tools.terminal.commands import words

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
SPLITS = click.option("--splits", metavar="train,val", help="Only these splits.")


def selection(generators: str | None, splits: str | None) -> dict[str, Any]:
    """`--generators` and `--splits` as names that the packer knows. Raises ToolError."""
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
