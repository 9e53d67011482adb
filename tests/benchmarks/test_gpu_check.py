"""The GPU check runs to its end in CPU mode and says that it measured no GPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import gpu_check
from tests.fixtures.genimage import make_tree


def test_cpu_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nvidia.dali", reason="DALI is not installed: pip install nvidia-dali-cuda120")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    make_tree(tmp_path / "tree")
    folder = tmp_path / "data"
    pack = [sys.executable, "-m", "shard_tools", "pack", str(tmp_path / "tree"), str(folder)]
    subprocess.run(pack, check=True, capture_output=True)
    arguments = ["--plain", str(folder), "--device", "cpu", "--seconds", "0.1", "--batch-size", "8", "--crop", "32"]
    monkeypatch.setattr("sys.argv", ["gpu_check", *arguments, "--threads", "2", "--results", str(tmp_path)])
    assert gpu_check.main() == 0
    text = (tmp_path / "gpu-check-cpu-mode.md").read_text()
    assert "There was no GPU" in text
    assert "bit-equal" in text
    data = json.loads((tmp_path / "gpu-check-cpu-mode.json").read_text())
    assert {row["stream"] for row in data["rates"]} == {"mixed", "reals", "fakes"}
    assert all(row["images_per_second"] > 0 for row in data["rates"])
    assert all(row["largest"] == 0 for row in data["fidelity_plain"])
