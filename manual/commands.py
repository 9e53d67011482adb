"""The command lines as pages, from the parsers that read them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

import genimage_stream.cli
import shard_tools.cli

COMMANDS: dict[str, click.Group] = {"shard-tools": shard_tools.cli.app, "genimage-stream": genimage_stream.cli.app}


def pages() -> dict[str, str]:
    """Name of the command -> its page as Markdown."""
    return {name: page(name, group) for name, group in COMMANDS.items()}


def page(name: str, group: click.Group) -> str:
    """One page: what the command is, then a section for each of its commands, as `--help` has them."""
    context = click.Context(group, info_name=name)
    parts = [f"# {name}", _text(group)]
    for command, path, inner in _below(group, context):
        parts += [f"## {path}", *_section(command, inner)]
    return "\n\n".join(parts) + "\n"


def _below(group: click.Group, context: click.Context) -> Iterator[tuple[click.Command, str, click.Context]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        inner = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from _below(command, inner)
        else:
            yield command, inner.command_path, inner


def _section(command: click.Command, context: click.Context) -> Iterator[str]:
    pieces = " ".join(command.collect_usage_pieces(context))
    yield f"```text\n{context.command_path} {pieces}\n```"
    yield _text(command)
    records = [record for one in command.get_params(context) if (record := one.get_help_record(context))]
    rows = [f"| `{_cell(names)}` | {_cell(said)} |" for names, said in records if said]
    yield "\n".join(["| | |", "|---|---|", *rows])


def _text(command: click.Command) -> str:
    """The help's paragraphs, each in one line, what Markdown would take for its own escaped."""
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(command.help or "").replace("\b", "").replace("\f", ""))
    return "\n\n".join(re.sub(r"([*_<>])", r"\\\1", " ".join(one.split())) for one in paragraphs)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
