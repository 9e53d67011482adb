"""What long work says while it goes on: on a terminal and elsewhere."""

from __future__ import annotations

import io
import re
import time
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


@pytest.mark.parametrize("width", [50, 60, 70, 80, 100, 140, 200])
@pytest.mark.parametrize("what", ["packing", "verifying"])
def test_a_bar_of_all_of_genimage_takes_one_line(what: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    screen, clock = io.StringIO(), time.monotonic
    progress = Bars(Console(file=screen, force_terminal=True, width=width))
    progress.begin(what, 2_681_167, 620_000_000_000)
    with monkeypatch.context() as later:
        later.setattr(time, "monotonic", lambda: clock() + 300)
        progress.advance(2_681_167, 600_000_000_000, 12_345)
    progress.end()
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue())
    drawn = [line for line in re.split(r"[\r\n]+", plain) if line.strip()]
    assert all(line.startswith(what) for line in drawn), drawn  # a second line of a bar would begin otherwise
    assert "2,681,167 images" in drawn[-1]
    assert ("12,345 quarantined" in drawn[-1]) == (width >= 80)
