"""Folders that cannot be looked into while packing: named and refused, never counted as files to ignore."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shard_tools.scan import scan
from tests.fixtures.genimage import make_tree
from tests.shard_tools.conftest import index_rows, pack_here, quarantine_rows, shard_tools_here

GENERATORS = ("adm", "wukong")


@pytest.fixture
def source() -> Iterator[Path]:
    """A tree that every user may read: pytest's own folders are closed to others."""
    root = Path(tempfile.mkdtemp())
    root.chmod(0o755)
    make_tree(root / "src", generators=GENERATORS, count=3)
    yield root / "src"
    for folder, _, _ in os.walk(root):
        os.chmod(folder, 0o755)
    shutil.rmtree(root)


def folder(source: Path, generator: str, name: str) -> Path:
    return next(path for path in sorted(source.rglob(name)) if generator in str(path).lower())


def as_somebody(work: Callable[[], str]) -> str:
    """The answer of `work` in a process whose user may not read everything."""
    if os.geteuid():
        return work()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgid(65534)
            os.setuid(65534)
            answer = work()
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(writing, answer.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return answer


def refused(source: Path, lost: Path, reason: str, lost_generator: str | None = None) -> None:
    """pack ends with a sentence that names the folder; with the option it packs the rest and lists the folder."""
    destination = source.parent / "dst"
    done = shard_tools_here("pack", source, destination)
    assert done.code == 2
    assert str(lost) in done.err
    assert reason in done.err
    assert "--allow-missing-volumes" in done.err
    assert not destination.exists()
    assert shard_tools_here("scan", source, "--json").json["problems"]
    pack_here(source, destination, allow_missing_volumes=True)
    assert str(lost.relative_to(source)) in quarantine_rows(destination)
    assert lost_generator not in {row["generator"] for row in index_rows(destination)}


@pytest.mark.parametrize("level", ["ai", "train", "generator"])
@pytest.mark.parametrize("target", ["not mounted", "itself"])
def test_a_link_to_a_disk_that_is_not_mounted(level: str, target: str, source: Path) -> None:
    lost = folder(source, "wukong", "ai" if level == "ai" else "train")
    lost = lost.parents[1] if level == "generator" else lost
    shutil.move(lost, source.parent / "kept")
    lost.symlink_to("/nowhere/mounted" if target == "not mounted" else lost.name)
    refused(source, lost, "is a link to", "wukong" if level == "generator" else None)


@pytest.mark.parametrize("mode", [0o644, 0o311, 0o000], ids=["not searchable", "not readable", "closed"])
@pytest.mark.parametrize("level", ["ai", "train", "generator"])
def test_a_folder_of_somebody_else(mode: int, level: str, source: Path) -> None:
    lost = folder(source, "adm", "ai" if level == "ai" else "train")
    lost = lost.parents[1] if level == "generator" else lost
    lost.chmod(mode)

    def work() -> str:
        found = scan([str(source)])
        return f"{found.others} " + "; ".join(found.incomplete)

    said = as_somebody(work)
    assert said.startswith("Counter() ")
    assert "ermission denied" in said
    assert str(lost) in said


def test_images_that_are_links_to_a_lost_disk(source: Path) -> None:
    lost = folder(source, "adm", "ai")
    for image in lost.iterdir():
        image.unlink()
        image.symlink_to(f"/nowhere/mounted/{image.name}")
    done = shard_tools_here("pack", source, source.parent / "dst")
    assert done.code == 2
    assert f"{lost}: 3 of its 3 files cannot be read (No such file or directory)" in done.err
    assert not (source.parent / "dst").exists()


def test_a_dead_link_named_like_a_file_is_one_file(source: Path) -> None:
    (folder(source, "adm", "ai") / "9_adm_9.PNG").symlink_to("nowhere")
    (source / "old.zip").symlink_to("nowhere")
    done = shard_tools_here("pack", source, source.parent / "dst")
    assert done.code == 2
    assert "old.zip is missing or empty" in done.err
    (source / "old.zip").unlink()
    pack_here(source, source.parent / "dst")
    assert [row["reason"] for row in quarantine_rows(source.parent / "dst").values()] == [
        "unreadable: No such file or directory"
    ]
