"""A compiled part that is missing, of another Python, or that cannot be loaded, is told in one sentence."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import genimage_stream
from genimage_stream.decode import _core

PACKAGE = Path(genimage_stream.__file__).parent
BUILT = Path(_core.__file__)


def copy(folder: Path, *, built: bool) -> Path:
    """The package in `folder`, with its compiled part or without."""
    ignored = shutil.ignore_patterns("__pycache__", *([] if built else ["_core*.so"]))
    shutil.copytree(PACKAGE, folder / "genimage_stream", ignore=ignored)
    shutil.copytree(PACKAGE.parent / "shard_tools", folder / "shard_tools", ignore=ignored)
    return folder


def last_line(folder: Path, *arguments: str, path: str = "") -> str:
    """The last line of what Python says, started in `folder`; `path` is where packages are installed as well."""
    others = [place for place in sys.path if place and Path(place).resolve() != PACKAGE.parent]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [path, *others]))}
    command = [sys.executable, "-S", *(arguments or ("-c", "import genimage_stream"))]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode in (1, 2), result.stdout
    assert "circular import" not in result.stderr
    lines = result.stderr.strip().splitlines()
    assert result.returncode == 1 or len(lines) == 1, "a command says it without a traceback"
    return lines[-1]


def test_sources_that_are_not_built(tmp_path: Path) -> None:
    line = last_line(copy(tmp_path, built=False))
    assert line.startswith("ImportError: ")
    assert f"genimage-stream in {tmp_path} has no compiled part: build it with `make setup`" in line


@pytest.mark.parametrize(("command", "name"), [("main", "shard-tools"), ("genimage_stream", "genimage-stream")])
def test_commands_say_it_in_one_line(command: str, name: str, tmp_path: Path) -> None:
    line = last_line(copy(tmp_path, built=False), "-c", f"from shard_tools.__main__ import {command}; {command}()")
    assert line.startswith(f"{name}: genimage-stream in ")


def test_sources_that_hide_the_installed_package(tmp_path: Path) -> None:
    sources, installed = copy(tmp_path / "sources", built=False), copy(tmp_path / "installed", built=True)
    line = last_line(sources, path=str(installed))
    assert f"found the sources in {sources}" in line
    assert f"installed in {installed}: start Python in another folder" in line


def test_a_compiled_part_of_another_python(tmp_path: Path) -> None:
    copy(tmp_path, built=False)
    (tmp_path / "genimage_stream/decode/_core.cpython-38-x86_64-linux-gnu.so").touch()
    assert "_core.cpython-38-x86_64-linux-gnu.so, for another Python than this one" in last_line(tmp_path)


@pytest.mark.parametrize(
    ("library", "package"),
    [
        (b"libjpeg.so", "libjpeg62-turbo"),
        (b"libdeflate.so", "libdeflate0"),
        (b"libwebp.so", "libwebp7"),
        (b"libz.so", "zlib1g"),
    ],
)
def test_a_shared_library_that_is_not_there(library: bytes, package: str, tmp_path: Path) -> None:
    """The core wants a version of the library that no machine has."""
    copy(tmp_path, built=True)
    core = tmp_path / "genimage_stream/decode" / BUILT.name
    data = core.read_bytes()
    start = data.index(b"\0" + library + b".") + len(library) + 2
    end = data.index(b"\0", start)
    core.write_bytes(data[:start] + b"9" * (end - start) + data[end:])
    line = last_line(tmp_path)
    assert f"needs the shared library {library.decode()}.9" in line
    assert f"apt-get install {package}" in line


def test_a_system_older_than_the_compiled_part(tmp_path: Path) -> None:
    """The core wants functions of a glibc that no machine has."""
    copy(tmp_path, built=True)
    core = tmp_path / "genimage_stream/decode" / BUILT.name
    wanted = re.search(rb"\0GLIBC_2\.([\d.]+)\0", core.read_bytes())
    assert wanted
    core.write_bytes(core.read_bytes().replace(wanted[0], wanted[0].replace(b"_2.", b"_9.")))
    line = last_line(tmp_path)
    assert f"needs glibc 9.{wanted[1].decode()} or newer, and this system has" in line
    assert "pip install --no-binary genimage-stream" in line


def test_a_damaged_compiled_part(tmp_path: Path) -> None:
    copy(tmp_path, built=True)
    (tmp_path / "genimage_stream/decode" / BUILT.name).write_bytes(b"\x7fELF no more")
    line = last_line(tmp_path)
    assert "cannot be loaded" in line
    assert "make setup" in line
