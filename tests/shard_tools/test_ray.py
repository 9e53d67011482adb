"""The Ray engine, with Ray started on this machine: the same bytes as the local one, also when it loses a worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.shard_tools.conftest import tree_bytes

pytest.importorskip("ray")

Tree = tuple[Path, list[Any]]


def workers_of(parent: int) -> list[int]:
    """Ray's worker processes that carry out a task of ours, below the given process."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"ray::carry_out" in (folder / "cmdline").read_bytes() and _descends(int(folder.name), parent):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def _descends(pid: int, ancestor: int) -> bool:
    while pid > 1:
        if pid == ancestor:
            return True
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return False


def test_the_same_bytes_although_a_worker_is_lost(standard_tree: Tree, packed: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "shard_tools", "pack", str(standard_tree[0]), str(tmp_path / "dst")]
    command += ["--engine", "ray", "--shard-size", "60kB", "--workers", "2"]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ, "RAY_TMPDIR": "/tmp"}
    )
    killed = 0
    while process.poll() is None and not killed:
        for pid in workers_of(process.pid)[:1]:
            os.kill(pid, signal.SIGKILL)
            killed += 1
        time.sleep(0.005)
    _, err = process.communicate(timeout=180)
    assert process.returncode == 0, err.decode()
    assert tree_bytes(tmp_path / "dst") == tree_bytes(packed)
    assert killed == 1
