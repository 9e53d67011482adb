"""Worker processes of the local engine: what they run, and what is said when they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from shard_tools.engines.local import Worker
from shard_tools.errors import ToolError
from shard_tools.shard import ShardTask
from shard_tools.target.local_storage import LocalStorage
from tests.fixtures.genimage import make_tree

ROOT = Path(__file__).parents[2]


def test_files_of_the_users_folder_are_not_run(tmp_path: Path) -> None:
    """The command is started as an installed one is, from a folder with names of the standard library in it."""
    for made in make_tree(tmp_path / "tree", generators=("adm",), count=8):
        with zipfile.ZipFile(tmp_path / "adm.zip", "a") as archive:
            archive.writestr(made.path, made.data)
    (tmp_path / "here").mkdir()
    for name in ("random", "socket", "struct", "numpy", "shard_tools"):
        (tmp_path / "here" / f"{name}.py").write_text(
            f"open({str(tmp_path / 'run')!r}, 'w').close()\nraise SystemExit(3)"
        )
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "shard-tools"
    command.write_text("from shard_tools.cli import main\nmain()\n")
    options = ["--shard-size", "10kB", "--workers", "5"]  # as processes
    done = subprocess.run(
        [sys.executable, command, "pack", tmp_path / "adm.zip", tmp_path / "dst", *options],
        cwd=tmp_path / "here",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "run").exists()


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[IO[bytes]]:
    with (tmp_path / "gate").open("wb") as file:
        yield file


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_only_a_kill_may_be_for_memory(number: int, tmp_path: Path, gate: IO[bytes]) -> None:
    worker = Worker([], LocalStorage(str(tmp_path)), gate.fileno(), 5)
    worker.process.send_signal(number)
    worker.path = "adm/train/x.tar"
    with pytest.raises(ToolError, match=rf"wrote adm/train/x.tar was killed by signal {int(number)}") as caught:
        worker.receive()
    assert ("out of memory" in str(caught.value)) == (number == signal.SIGKILL)
    assert "run the same command again" in str(caught.value)
    worker.connection.close()


def test_a_worker_that_is_gone_before_it_is_given_anything(tmp_path: Path, gate: IO[bytes]) -> None:
    """Giving it a shard met a broken pipe, and the packer ended with exit code 1 and no sentence."""
    worker = Worker([], LocalStorage(str(tmp_path)), gate.fileno(), 5)
    worker.process.kill()
    worker.process.wait()
    worker.give(ShardTask(0, "adm/train/adm-train-00000.tar", "adm", "train", [], "full"))
    with pytest.raises(ToolError, match=r"adm-train-00000\.tar was killed by signal 9"):
        worker.receive()
    worker.connection.close()
