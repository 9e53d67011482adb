"""What all commands have in common: arguments, the end, JSON."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import click

from genimage_stream import command_line
from shard_tools.errors import ToolError

DESTINATION = click.argument("destination", metavar="DST")
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
GENERATORS = click.option("--generators", metavar="A,B", help="Only these generators.")


def print_json(value: Mapping[str, Any]) -> None:
    sys.stdout.write(command_line.json_text(value) + "\n")


def end(work: Callable[[], int], as_json: bool, interrupted: str = "interrupted") -> None:
    command_line.end("shard-tools", work, as_json, expected=(ToolError,), interrupted=interrupted)


def words(text: str | None) -> tuple[str, ...] | None:
    """The words of a list with commas; None where the option is not given."""
    return tuple(word.strip() for word in text.split(",") if word.strip()) if text is not None else None
