"""What the tests of packing in parts share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shard_tools.packing.numbers import Part
from shard_tools.packing.part import PartSummary, pack_part
from shard_tools.terminal.progress import Silent
from shard_tools.work import PackOptions

Tree = tuple[Path, list[Any]]
SIZE = ("--shard-size", "20kB")


class Meddler(Silent):
    """Does something after the plan of a part has been read, before it writes."""

    def __init__(self, action: Callable[[], object]) -> None:
        self.action = action

    def begin(self, what: str, files: int, size_bytes: int, bad: str = "quarantined") -> None:
        self.action()


def do_part(source: Path, destination: Path, part: str, progress: Any = None, **options: Any) -> PartSummary:
    """`pack --part` in this process."""
    number, count = map(int, part.split("/"))
    given = PackOptions(**{"shard_bytes": 20_000, "workers": 1, **options})
    return pack_part([str(source)], str(destination), given, Part(number, count), progress or Silent())


def command(*arguments: object) -> subprocess.Popen[bytes]:
    run = [sys.executable, "-m", "shard_tools", *map(str, arguments)]
    return subprocess.Popen(run, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def ended(process: subprocess.Popen[bytes]) -> int:
    _, err = process.communicate(timeout=120)
    print(err.decode())
    return process.returncode


def left(destination: Path) -> list[str]:
    """Everything, also empty folders, that serves packing alone."""
    return sorted(str(one) for one in destination.rglob("*") if ".pack" in one.parts or one.name.endswith(".part"))
