"""What long work says while it goes on: on a terminal and elsewhere."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from shard_tools.scan import scan
from shard_tools.terminal.progress import Bars, Lines


def test_lines(standard_tree: tuple[Path, list[Any]], capsys: pytest.CaptureFixture[str]) -> None:
    progress = Lines()
    progress.interval = 0.0
    listing = scan([str(standard_tree[0])], found=progress.found)
    progress.begin("packing", 2, 2_000_000)
    progress.advance(1, 1_000_000, 1)
    progress.end()
    lines = capsys.readouterr().err.splitlines()
    counted = [line for line in lines if line.startswith("listing: ")]
    assert counted[-1] == f"listing: {len(listing)} files so far"
    assert lines[len(counted)].startswith("packing: 1/2 images, 1/2 MB, ")
    assert lines[-1].endswith("1 quarantined")


def test_bars(standard_tree: tuple[Path, list[Any]]) -> None:
    screen = io.StringIO()
    progress = Bars(Console(file=screen, force_terminal=True, width=200))
    listing = scan([str(standard_tree[0])], found=progress.found)
    progress.say("note: [this] is not markup")
    assert f"listing: {len(listing)} files so far" in screen.getvalue()
    progress.begin("packing", 2, 2_000_000)
    progress.advance(1, 1_000_000, 1)
    progress.advance(1, 1_000_000, 0)
    progress.end()
    shown = screen.getvalue()
    assert "note: [this] is not markup" in shown
    assert "2 images" in shown
    assert "1 quarantined" in shown
