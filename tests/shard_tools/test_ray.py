"""The Ray engine, with Ray started on this machine: the same bytes as the local one, also when it loses a worker."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from shard_tools.engines import ray as ray_engine
from shard_tools.errors import ToolError
from tests.shard_tools.conftest import shard_tools, tree_bytes

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


@pytest.mark.alone  # Ray starts by the free memory, and a worker is caught at its work
def test_the_same_bytes_although_a_worker_is_lost(standard_tree: Tree, packed: Path, tmp_path: Path) -> None:
    for attempt in range(5):
        destination = tmp_path / f"dst-{attempt}"
        command = [sys.executable, "-m", "shard_tools", "pack", str(standard_tree[0]), str(destination)]
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
        _, err = process.communicate(timeout=250)
        assert process.returncode == 0, err.decode()
        assert tree_bytes(destination) == tree_bytes(packed)
        if killed:
            break  # else no worker was seen at its work, which takes a moment
    assert killed == 1


@pytest.mark.parametrize("kind", ["auto", "nobody listens", "no such host"])
def test_a_cluster_that_is_not_there(kind: str, standard_tree: Tree, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    addresses = {"nobody listens": f"127.0.0.1:{port}", "no such host": "ray://nowhere.invalid:10001"}
    address = addresses.get(kind, kind)
    environment = {**os.environ, "RAY_ADDRESS": address, "RAY_TMPDIR": str(tmp_path)}
    done = shard_tools("pack", standard_tree[0], tmp_path / "dst", "--engine", "ray", env=environment)
    assert done.code == 2
    assert f"RAY_ADDRESS={address}" in done.err
    assert "unset it to start Ray on this machine" in done.err


def test_an_address_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray would wait for minutes."""
    asked = []

    def connect(address: tuple[str, int], seconds: float) -> socket.socket:
        asked.append((address, seconds))
        raise TimeoutError("timed out")

    monkeypatch.setattr(ray_engine.socket, "create_connection", connect)
    with pytest.raises(ToolError, match=r"RAY_ADDRESS=192\.0\.2\.1:6379 cannot be reached: timed out"):
        ray_engine.check_reachable("192.0.2.1:6379")
    assert asked == [(("192.0.2.1", 6379), ray_engine.CONNECT_SECONDS)]
    for address in (None, "auto", "local"):
        ray_engine.check_reachable(address)
    assert len(asked) == 1
