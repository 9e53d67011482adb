"""Processes that plan, pack and gather the same dataset at the same time, late, or after others have died."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shard_tools import pack as packing
from shard_tools.errors import ToolError
from shard_tools.packing import part as part_module
from shard_tools.packing import turn
from shard_tools.packing.part import gather_parts
from shard_tools.scan import scan as scan_sources
from shard_tools.terminal.progress import Silent
from tests.shard_tools.conftest import tree_bytes
from tests.shard_tools.packing.in_parts import SIZE, Meddler, command, do_part, left


@pytest.mark.parametrize("again", [False, True])
def test_a_part_that_ends_after_the_dataset(
    again: bool, parts_source: Path, parts_whole: dict[str, bytes], parts_begun: Path, tmp_path: Path
) -> None:
    """It was thought dead, and another process has done its part; also when a source is not there any more."""
    destination, here = tmp_path / "dst", tmp_path / "src"
    shutil.copytree(parts_begun, destination)
    shutil.copytree(parts_source, here)

    def others() -> None:
        for part in ("1/3", "3/3"):
            do_part(parts_source, destination, part)
        gather_parts(str(destination))
        if again:
            shutil.rmtree(here)

    assert do_part(here, destination, "1/3", Meddler(others)).state == "finished"
    assert tree_bytes(destination) == parts_whole
    assert left(destination) == []


@pytest.mark.parametrize("when", ["before it begins", "before it publishes", "killed after it published"])
def test_another_gather_at_the_same_time(
    when: str,
    parts_source: Path,
    parts_whole: dict[str, bytes],
    parts_begun: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    destination = str(tmp_path / "dst")
    shutil.copytree(parts_begun, destination)
    for part in ("1/3", "3/3"):
        do_part(parts_source, Path(destination), part)
    name = {"before it begins": "gather", "before it publishes": "sweep"}.get(when, "sweep")
    original = getattr(part_module, name)

    def meanwhile(*arguments: Any, **named: Any) -> None:
        monkeypatch.setattr(part_module, name, original)
        if when == "killed after it published":
            raise KeyboardInterrupt
        assert gather_parts(destination).samples
        original(*arguments, **named)

    monkeypatch.setattr(part_module, name, meanwhile)
    if when == "killed after it published":
        with pytest.raises(KeyboardInterrupt):
            gather_parts(destination)
        assert do_part(parts_source, Path(destination), "1/3").state == "finished"
        assert left(Path(destination)) != []
    assert gather_parts(destination).samples
    assert tree_bytes(Path(destination)) == parts_whole
    assert left(Path(destination)) == []


def test_a_planner_that_died(
    parts_source: Path, parts_whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its mark stays, with the time of a clock that is an hour ahead. Others plan when they see no life in it."""
    destination = tmp_path / "dst"
    process = command("plan", parts_source, destination, *SIZE)
    while process.poll() is None and not (destination / turn.PLANNER).exists():
        time.sleep(0.001)
    process.kill()
    process.communicate()
    (destination / ".pack").mkdir(parents=True, exist_ok=True)  # where it was too fast to be killed
    for name in os.listdir(destination / ".pack"):
        os.remove(destination / ".pack" / name)
    (destination / turn.PLANNER).write_text("process 7 of a-host, 5eed, 3\n")
    os.utime(destination / turn.PLANNER, (time.time() + 3600,) * 2)
    monkeypatch.setattr(turn, "PATIENCE", 0.0)
    said: list[str] = []
    progress = Silent()
    monkeypatch.setattr(progress, "say", said.append, raising=False)
    do_part(parts_source, destination, "1/1", progress)
    assert said[:2] == [
        "waiting for the plan, which process 7 of a-host makes",
        "nothing is heard of the process that plans: planning here",
    ]
    gather_parts(str(destination))
    assert tree_bytes(destination) == parts_whole
    assert left(destination) == []


def test_a_planner_that_lives_is_waited_for(
    parts_source: Path, parts_whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow one, which gives signs of life meanwhile."""
    monkeypatch.setattr(turn, "BEAT", 0.01)
    slow, waiting = threading.Event(), threading.Event()
    plans: list[int] = []

    def scan(*arguments: Any, **named: Any) -> Any:
        plans.append(1)
        slow.set()
        waiting.wait(30)
        return scan_sources(*arguments, **named)

    monkeypatch.setattr(packing, "scan", scan)
    threads = [threading.Thread(target=do_part, args=(parts_source, tmp_path / "dst", "1/2"))]
    threads[0].start()
    slow.wait(30)
    progress = Silent()
    monkeypatch.setattr(progress, "say", lambda line: waiting.set(), raising=False)
    threads.append(threading.Thread(target=do_part, args=(parts_source, tmp_path / "dst", "2/2", progress)))
    threads[1].start()
    for thread in threads:
        thread.join()
    assert len(plans) == 1
    gather_parts(str(tmp_path / "dst"))
    assert tree_bytes(tmp_path / "dst") == parts_whole


def test_plans_that_are_published_at_the_same_time(
    parts_source: Path, parts_whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first stays; one that comes when all is finished is taken back."""
    destination = tmp_path / "dst"
    steps: list[Callable[[], object]] = [
        lambda: do_part(parts_source, destination, "1/2"),
        lambda: [do_part(parts_source, destination, "1/1"), gather_parts(str(destination))],
    ]

    def scan(*arguments: Any, **named: Any) -> Any:
        if steps:
            step = steps.pop(0)
            os.remove(destination / turn.PLANNER)
            rest, steps[:] = list(steps), []
            step()
            steps[:] = rest
        return scan_sources(*arguments, **named)

    monkeypatch.setattr(packing, "scan", scan)
    assert do_part(parts_source, destination, "2/2").state == "packed"
    assert len(list((destination / ".pack").glob("plan-*"))) == 1
    destination = tmp_path / "late"
    assert do_part(parts_source, destination, "1/1").state == "finished"
    assert tree_bytes(destination) == parts_whole
    assert left(destination) == []


@pytest.mark.parametrize("how", ["replaced", "gone"])
def test_a_plan_that_goes_while_a_part_works(
    how: str, parts_source: Path, parts_whole: dict[str, bytes], tmp_path: Path
) -> None:
    """Replaced by the same one where a store cannot refuse a second one; removed by somebody who starts anew."""
    destination = tmp_path / "dst"
    times: list[int] = []

    def meddle() -> None:
        times.append(1)
        if len(times) > 1:
            return
        plan = destination / ".pack" / "plan.json"
        if how == "gone":
            shutil.rmtree(destination)
            return
        (name,) = (one.name for one in plan.parent.glob("plan-*"))
        shutil.copy(plan.parent / name, plan.parent / "plan-other.arrow")
        plan.write_text(plan.read_text().replace(name, "plan-other.arrow"))

    if how == "gone":
        with pytest.raises(ToolError, match="was removed or planned anew"):
            do_part(parts_source, destination, "1/1", Meddler(meddle))
        return
    done = do_part(parts_source, destination, "1/1", Meddler(meddle))
    assert (done.state, len(times)) == ("packed", 2)
    gather_parts(str(destination))
    assert tree_bytes(destination) == parts_whole
    assert left(destination) == []
