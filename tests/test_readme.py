"""Every command and every program of the README does what it says, on a tiny tree."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.genimage import make_tree

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """The fenced code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands(program: str) -> list[list[str]]:
    """The README's command lines that call `program`, comments taken off."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    words = [shlex.split(line, comments=True) for line in lines]
    return [line for line in words if line and line[0] == program]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a GenImage tree, and its shards made by the README's own commands."""
    here = tmp_path_factory.mktemp("readme")
    make_tree(here / "GenImage", count=4)
    assert [line[1] for line in commands("shard-tools")][:4] == ["scan", "pack", "verify", "info"]
    for line in commands("shard-tools"):
        result = subprocess.run(
            [sys.executable, "-m", "shard_tools", *line[1:]], cwd=here, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, f"{shlex.join(line)}: {result.stderr}"
        assert result.stdout or result.stderr, f"{shlex.join(line)} said nothing"
    return here


def test_shards_are_there(folder: Path) -> None:
    assert list((folder / "shards").glob("*/*/*.tar"))


def test_training_loop_has_fifteen_lines() -> None:
    loop = next(block for block in blocks("python") if "optimizer.step()" in block)
    assert len([line for line in loop.splitlines() if line.strip()]) <= 15


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_python_runs(number: int, folder: Path, warm: str) -> None:
    result = subprocess.run(
        [warm, "-c", blocks("python")[number]], cwd=folder, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_make_targets_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for line in commands("make"):
        assert re.search(rf"^{line[1]}:", makefile, re.MULTILINE), line


def test_bench_command_of_the_readme(folder: Path) -> None:
    (line,) = re.findall(r"`genimage-stream (bench [^`]+)`", README)
    command = [sys.executable, "-m", "genimage_stream", *shlex.split(line), "--seconds", "0.2", "--threads", "1"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", README):
        assert (ROOT / target).exists(), target
