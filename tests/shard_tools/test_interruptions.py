"""Nothing is lost whatever happens in between: killed, full, locked out, sources that change, foreign destinations."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from genimage_stream.schema import PLAN_FILE
from shard_tools import state
from shard_tools.errors import SourceError, TargetError, ToolError
from shard_tools.layout.mapping import parse_mapping
from shard_tools.pack import pack
from shard_tools.target.local_storage import LocalStorage
from shard_tools.terminal.progress import Silent
from shard_tools.work import PackOptions
from tests.fixtures.genimage import make_tree
from tests.fixtures.stopped import stopped
from tests.shard_tools.conftest import index_rows, pack_here, quarantine_rows, shard_tools, shard_tools_here, tree_bytes

Tree = tuple[Path, list[Any]]


def start(source: Path, destination: Path, workers: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "shard_tools", "pack", str(source), str(destination)]
    command += ["--shard-size", "60kB", "--workers", str(workers)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def children_of(parent: int) -> list[int]:
    """The processes whose parent is this one, by /proc, which every Linux has (pgrep need not be installed)."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            if int((process / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(process.name))
    return found


def final_names_are_whole(destination: Path, whole: Path) -> None:
    """Whatever has its final name has its final bytes. Workers that outlive their parent may end a file meanwhile."""
    expected = tree_bytes(whole)
    for path in [p for p in destination.rglob("*") if p.suffix != ".part" and p.is_file()]:
        name = str(path.relative_to(destination))
        if not name.startswith(".pack/") and path.name != ".index.arrow":
            assert path.read_bytes() == expected[name], name


@pytest.mark.parametrize(("workers", "archive"), [(1, False), (2, False), (5, True)])
def test_kill_at_random_moments(workers: int, archive: bool, standard_tree: Tree, packed: Path, tmp_path: Path) -> None:
    """A few workers are threads, more are processes."""
    rng = random.Random(workers)
    source = standard_tree[0]
    if archive:
        source, packed = tmp_path / "src", tmp_path / "whole"
        shutil.make_archive(str(source / "GenImage"), "zip", standard_tree[0])
        pack_here(source, packed)
    destination = tmp_path / "dst"
    attempt = unfinished = 0
    while attempt < 5 or not unfinished:
        assert attempt < 50, "it was always done before it was killed"
        process = start(source, destination, workers)
        # Wait until it has begun to write, so that the kill meets it at work.
        while attempt != 4 and process.poll() is None and not list(destination.glob("*/*/.*.part")):
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.02) if attempt else 0)
        # The whole group dies as in a power cut, or the parent alone as by a careless `kill -9`.
        if attempt % 2 and process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
        attempt += 1
        if not destination.exists():
            continue
        unfinished += not (destination / "dataset.json").exists()
        final_names_are_whole(destination, packed)
        if not unfinished:  # this machine was busy with other things, and looked too late
            shutil.rmtree(destination)
    done = shard_tools_here("pack", source, destination, "--shard-size", "60kB", "--workers", 3 - min(2, workers))
    assert done.code == 0, done.err
    assert unfinished > 0
    assert tree_bytes(destination) == tree_bytes(packed)


def test_finished_shards_are_not_written_again(standard_tree: Tree, packed: Path, tmp_path: Path) -> None:
    destination = tmp_path / "dst"
    command = ["pack", standard_tree[0], destination, "--shard-size", "60kB", "--workers", 1]
    with stopped(destination, ".pack/shards/*.arrow", 5, *command):
        pass
    # Those with a result: a tar without one, of which several threads may have some, is made again.
    results = list(destination.glob(".pack/shards/*.arrow"))
    tables = [pa.ipc.open_file(pa.py_buffer(path.read_bytes())[:-4]).read_all() for path in results]
    finished = {destination / one["shard"][0].as_py(): 0 for one in tables if len(one)}
    finished = {path: path.stat().st_mtime_ns for path in finished}
    assert len(results) >= 5
    assert len(finished) >= len(results) - 1
    done = shard_tools_here("pack", standard_tree[0], destination, "--shard-size", "60kB")
    assert f"going on: {len(results)} of" in done.err
    assert finished == {p: p.stat().st_mtime_ns for p in finished}
    assert tree_bytes(destination) == tree_bytes(packed)


def test_a_worker_that_is_killed_is_reported(tmp_path: Path) -> None:
    make_tree(tmp_path / "src", generators=("biggan",), count=150)
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "shard_tools",
            "pack",
            str(tmp_path / "src"),
            str(tmp_path / "dst"),
            "--shard-size",
            "20kB",
            "--workers",
            "5",  # done by processes; fewer are threads
            "--crop-ready",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    children: list[int] = []
    while process.poll() is None and not children:
        children = children_of(process.pid)
        time.sleep(0.002)
    os.kill(children[0], signal.SIGKILL)
    _, err = process.communicate(timeout=250)
    assert process.returncode == 2
    assert "was killed by signal 9" in err
    assert "run the same command again" in err
    again = shard_tools_here("pack", tmp_path / "src", tmp_path / "dst", "--shard-size", "20kB", "--crop-ready")
    assert again.code == 0
    assert shard_tools_here("verify", tmp_path / "dst").code == 0


def test_interrupt_from_the_keyboard(standard_tree: Tree, tmp_path: Path) -> None:
    process = start(standard_tree[0], tmp_path / "dst", 2)
    while process.poll() is None and not list((tmp_path / "dst").glob("*/*/*.tar")):
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait() in (130, 0)
    assert not list((tmp_path / "dst").rglob("*.part"))


def test_two_packers_on_one_destination(standard_tree: Tree, packed: Path, tmp_path: Path) -> None:
    command = ["pack", standard_tree[0], tmp_path / "dst", "--shard-size", "60kB"]
    with stopped(tmp_path / "dst", "*/*/*.tar", 1, *command, "--workers", 1) as first:
        second = shard_tools_here(*command)
        os.kill(first.pid, signal.SIGCONT)
        assert second.code == 2
        assert f"is being packed by another process (process {first.pid})" in second.err
        assert first.wait(240) == 0
    assert tree_bytes(tmp_path / "dst") == tree_bytes(packed)


def test_file_size_limit_as_on_a_full_disk(standard_tree: Tree, packed: Path, tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    for workers in (1, 2):
        done = shard_tools(
            "pack", standard_tree[0], tmp_path / "dst", "--shard-size", "60kB", "--workers", workers, preexec_fn=limit
        )
        assert done.code == 2
        assert "no room left" in done.err
        assert str(tmp_path / "dst") in done.err
        assert "run the same command again" in done.err
        final_names_are_whole(tmp_path / "dst", packed)
        assert not list((tmp_path / "dst").rglob("*.part"))
    assert shard_tools("pack", standard_tree[0], tmp_path / "dst", "--shard-size", "60kB").code == 0
    assert tree_bytes(tmp_path / "dst") == tree_bytes(packed)


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small tmpfs is not allowed here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_full_disk(standard_tree: Tree, packed: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "400k"):
        destination = tmp_path / "disk" / "dst"
        done = shard_tools_here("pack", standard_tree[0], destination, "--shard-size", "60kB", "--workers", 2)
        assert done.code == 2
        assert "no room left" in done.err
        final_names_are_whole(destination, packed)
        assert not list(destination.rglob("*.part"))
        subprocess.run(["mount", "-o", "remount,size=50m", str(tmp_path / "disk")], check=True)
        assert shard_tools_here("pack", standard_tree[0], destination, "--shard-size", "60kB").code == 0
        assert tree_bytes(destination) == tree_bytes(packed)


class Meddler(Silent):
    """Does something to the source after the plan has been made."""

    def __init__(self, action: Callable[[], object]) -> None:
        self.action = action

    def begin(self, what: str, files: int, size_bytes: int) -> None:
        self.action()


def test_sources_that_vanish_or_change(tmp_path: Path) -> None:
    source = tmp_path / "src"
    made = make_tree(source, generators=("adm",), count=4)
    pack_here(source, tmp_path / "whole")
    victim = source / made[3].path
    options = PackOptions(shard_bytes=60_000, workers=1)

    def attempt(action: Callable[[], object]) -> str:
        with pytest.raises(SourceError) as caught:
            pack([str(source)], str(tmp_path / "dst"), options, Meddler(action))
        return str(caught.value)

    message = attempt(lambda: victim.rename(tmp_path / "away"))
    assert str(victim) in message
    assert "bring the source back" in message
    (tmp_path / "away").rename(victim)
    message = attempt(lambda: victim.write_bytes(made[3].data + b"more"))
    assert "changing the source" in message
    victim.write_bytes(made[3].data)
    message = attempt(lambda: source.rename(tmp_path / "unplugged"))
    assert "bring the source back" in message
    (tmp_path / "unplugged").rename(source)
    pack_here(source, tmp_path / "dst")
    assert tree_bytes(tmp_path / "dst") == tree_bytes(tmp_path / "whole")
    assert quarantine_rows(tmp_path / "dst") == {}


def test_destination_of_other_options_or_files(standard_tree: Tree, packed: Path, tmp_path: Path) -> None:
    shutil.copytree(packed, tmp_path / "dst")
    before = tree_bytes(tmp_path / "dst")
    done = shard_tools_here("pack", standard_tree[0], tmp_path / "dst", "--shard-size", "60kB", "--seed", 5)
    assert done.code == 2
    assert "seed = 0, not 5" in done.err
    make_tree(tmp_path / "other", generators=("adm",), count=2)
    done = shard_tools_here("pack", tmp_path / "other", tmp_path / "dst", "--shard-size", "60kB", "--json")
    assert done.code == 2
    assert "samples of adm train that the sources lack" in done.json["error"]
    assert tree_bytes(tmp_path / "dst") == before


def test_unfinished_destination_of_other_options(standard_tree: Tree, tmp_path: Path) -> None:
    command = ["pack", standard_tree[0], tmp_path / "dst", "--shard-size"]
    with stopped(tmp_path / "dst", "*/*/*.tar", 1, *command, "60kB", "--workers", 1):
        pass
    done = shard_tools_here(*command, "70kB")
    assert done.code == 2
    assert "shard_size = 60kB, not 70kB" in done.err
    done = shard_tools_here("verify", tmp_path / "dst")
    assert done.code == 2
    assert "is not finished" in done.err


def test_foreign_destinations(standard_tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("words")
    (tmp_path / "file").write_text("words")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "dataset.json").write_text("[]")
    for name, message in (("thesis", "is not empty"), ("file", "file"), ("foreign", "damaged")):
        done = shard_tools_here("pack", standard_tree[0], tmp_path / name)
        assert done.code == 2
        assert message in done.err
        assert str(tmp_path / name) in done.err
    assert os.listdir(tmp_path / "thesis") == ["chapter1.tex"]


def test_unusable_sources(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("x")
    for name, message in (
        ("nowhere", "no such folder"),
        ("empty", "no files"),
        ("file", "not a folder"),
        ("other", "no recognisable layout"),
    ):
        for command in (["scan", tmp_path / name], ["pack", tmp_path / name, tmp_path / "dst"]):
            done = shard_tools_here(*command)
            assert done.code == 2, done.err
            assert message in done.err
            assert str(tmp_path / name) in done.err
            assert len(done.err.strip().splitlines()) == 1
    assert not (tmp_path / "dst").exists()


def test_destination_within_the_source(tmp_path: Path) -> None:
    make_tree(tmp_path / "src", generators=("adm",), count=2)
    done = shard_tools_here("pack", tmp_path / "src", tmp_path / "src" / "shards")
    assert done.code == 2
    assert "lies within" in done.err
    assert not (tmp_path / "src" / "shards").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["pack", "only"],
        ["pack", "a", "b", "--shard-size", "much"],
        ["pack", "a", "b", "--check", "x"],
        ["nothing"],
        ["pack", "a", "b", "--splits", "holdout"],
        ["verify"],
        ["pack", "a", "b", "--workers", "-1"],
        ["pack", "a", "b", "--map", "x"],
        ["pack", "a", "b", "--engine", "slurm"],
    ],
)
def test_wrong_usage(arguments: list[str]) -> None:
    assert shard_tools_here(*arguments).code == 2


def test_no_image_left_by_the_selection(standard_tree: Tree, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="no such generator here; there are: adm"):
        pack_here(standard_tree[0], tmp_path / "dst", generators=("dalle",))
    make_tree(tmp_path / "src", generators=("adm",), count=1)
    with pytest.raises(ToolError, match="no image is left"):
        pack_here(tmp_path / "src", tmp_path / "dst", generators=("glide",))


def test_mappings_have_to_be_the_same_on_resume(tmp_path: Path) -> None:
    make_tree(tmp_path / "src", generators=("adm",), count=2)
    pack_here(tmp_path / "src", tmp_path / "dst", "ADM=flux::")
    assert {row["generator"] for row in index_rows(tmp_path / "dst")} == {"flux"}
    plan = {"plan_digest": "of flux", "options": json.loads((tmp_path / "dst" / "dataset.json").read_text())["options"]}
    (tmp_path / "dst" / "dataset.json").unlink()
    state.write_json(LocalStorage(str(tmp_path / "dst")), PLAN_FILE, plan)
    with pytest.raises(TargetError, match="of other files"):
        pack_here(tmp_path / "src", tmp_path / "dst")
    assert parse_mapping("ADM=flux::").generator == "flux"
