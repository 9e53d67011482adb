"""`make bench-check`: what it says of numbers, and by what it keeps them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import instructions
from benchmarks.instructions import KEPT, LEVELS, compared, counted, hindrance, key, works


def test_three_percent_more_is_worse() -> None:
    before = {"plain": {"a": 1000, "b": 1000, "c": 1000}}
    lines, worse = compared(before, {"plain": {"a": 1030, "b": 1031, "c": 900}})
    assert worse == ["b (plain)"]
    assert "less: record it" in lines[2]


def test_new_work_and_work_that_is_gone_are_named() -> None:
    _, worse = compared({"plain": {"a": 1}}, {"plain": {"b": 1}})
    assert worse == ["b (plain)", "a (plain)"]


def test_counts_are_read_by_the_name_given_when_they_stopped(tmp_path: Path) -> None:
    (tmp_path / "plain.1").write_text("desc: Trigger: Client Request: blur\nsummary: 12\ntotals: 12\n")
    (tmp_path / "plain.2").write_text("desc: Trigger: Program termination\nsummary: 0\n")
    assert counted(tmp_path, "plain") == {"blur": 12}


def test_all_work_runs_and_has_numbers() -> None:
    names = list(works())
    for run in works().values():
        run()
    for kept in json.loads(KEPT.read_text()):
        assert {level: list(counts) for level, counts in kept["counts"].items()} == dict.fromkeys(LEVELS, names)
        assert kept["key"].keys() == key().keys()


def test_it_says_why_it_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["bench-check"])
    if hindrance() is None:
        monkeypatch.setattr(instructions, "KEPT", tmp_path / "none.json")
        assert instructions.main() == 0
        assert "skipped: no numbers are kept for machine" in capsys.readouterr().out
    monkeypatch.setenv("PATH", str(tmp_path))
    assert hindrance() == "valgrind is not installed"
    assert instructions.main() == 0
