"""Fixtures for the tests of the GPU check."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu import rounds
from tests.fixtures.genimage import make_tree
from tests.fixtures.gpu_contest import MadeUp


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("gpu_check")
    make_tree(here / "tree")
    pack = [sys.executable, "-m", "shard_tools", "pack", str(here / "tree"), str(here / "shards")]
    subprocess.run(pack, check=True, capture_output=True)
    return here / "shards"


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> type[MadeUp]:
    monkeypatch.setattr(rounds, "Process", MadeUp)
    monkeypatch.setattr(MadeUp, "script", {})
    monkeypatch.setattr(MadeUp, "asked", [])
    monkeypatch.setattr(MadeUp, "ended", [])
    return MadeUp
