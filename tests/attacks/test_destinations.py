"""Destinations that a stranger prepared: nothing is written or removed through their links, and odd notes are named."""

from __future__ import annotations

import json
import os
import tarfile
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from genimage_stream.demo.run import run as run_demo
from tests.fixtures.genimage import make_tree
from tests.shard_tools.conftest import index_rows, shard_tools_here

LINKS = ["adm", "adm/train", ".pack", ".pack/shards", ".pack/lock", ".pack/plan.json"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "src"
    make_tree(folder, generators=("adm",), count=2)
    return folder


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder with a file, and room for a dataset beside it."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "victim").write_text("keep")
    return tmp_path / "outside"


def untouched(outside: Path) -> bool:
    return [p.name for p in outside.iterdir()] == ["victim"] and (outside / "victim").read_text() == "keep"


@pytest.mark.parametrize("name", LINKS)
def test_pack_writes_through_no_link(name: str, source: Path, outside: Path, tmp_path: Path) -> None:
    place = tmp_path / "dst" / name
    place.parent.mkdir(parents=True)
    place.symlink_to(outside / "victim" if place.name in ("lock", "plan.json") else outside)
    done = shard_tools_here("pack", source, tmp_path / "dst")
    assert done.code == 2, done.err
    assert str(tmp_path / "dst") in done.err
    assert untouched(outside)


@pytest.mark.parametrize("kind", ["second name", "pipe", "link"])
def test_a_lock_that_is_another_file(kind: str, source: Path, outside: Path, tmp_path: Path) -> None:
    lock = tmp_path / "dst" / ".pack" / "lock"
    lock.parent.mkdir(parents=True)
    if kind == "pipe":
        os.mkfifo(lock)
    elif kind == "link":
        lock.symlink_to(outside / "victim")
    else:
        os.link(outside / "victim", lock)
    done = shard_tools_here("pack", source, tmp_path / "dst")
    assert (done.code, untouched(outside)) == (2, True), done.err
    assert "is not the lock of a packer: remove it" in done.err


def test_unfolding_removes_nothing_through_a_link(source: Path, outside: Path, tmp_path: Path) -> None:
    """What is in the folder of unfolded archives and not of this plan is removed."""
    (tmp_path / "src").mkdir()
    with tarfile.open(tmp_path / "src" / "all.tar.gz", "w:gz") as tar:
        tar.add(source, ".")
    (tmp_path / "dst" / ".pack").mkdir(parents=True)
    (tmp_path / "dst" / ".pack" / "unfolded").symlink_to(outside)
    done = shard_tools_here("pack", tmp_path / "src", tmp_path / "dst")
    assert (done.code, untouched(outside)) == (2, True), done.err
    assert "leads out of" in done.err


def test_a_link_to_the_destination_is_fine(source: Path, tmp_path: Path) -> None:
    (tmp_path / "dst").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "dst")
    assert shard_tools_here("pack", source, tmp_path / "linked").code == 0
    assert shard_tools_here("verify", tmp_path / "linked").code == 0


def test_export_writes_through_no_link(source: Path, outside: Path, tmp_path: Path) -> None:
    assert shard_tools_here("pack", source, tmp_path / "dst").code == 0
    first = index_rows(tmp_path / "dst")[0]["source"].split("/")[0]
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / first).symlink_to(outside)
    done = shard_tools_here("export", tmp_path / "dst", tmp_path / "files")
    assert (done.code, untouched(outside)) == (2, True), done.err
    assert "leads out of" in done.err


PLANS: list[Any] = [
    {"groups": [1]},
    {"groups": 5},
    {"groups": [["adm"]]},
    {"groups": [["../..", ".."]]},
    {"replaced": [["adm", 3]]},
    {"drop": [["x"]]},
    {"drop": 3},
    [],
]


@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_an_odd_plan_is_named(plan: Any, source: Path, tmp_path: Path) -> None:
    assert shard_tools_here("pack", source, tmp_path / "dst").code == 0
    (tmp_path / "dst" / ".pack").mkdir()
    (tmp_path / "dst" / ".pack" / "plan.json").write_text(json.dumps(plan))
    for command in (("pack", source, tmp_path / "dst"), ("drop", tmp_path / "dst", "--generators", "adm")):
        done = shard_tools_here(*command)
        assert done.code == 2, done.err
        assert "plan.json is damaged" in done.err


def results() -> dict[str, bytes]:
    table = pa.table({"a": [1]})
    odd = [None, {"result": "[]"}, {"result": '{"size": "x"}'}, {"result": '{"size": 1, "quarantined": [1]}'}]
    found = {"nothing": b"", "words": b"words"}
    for metadata in odd:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.replace_schema_metadata(metadata).schema) as writer:
            writer.write_table(table.replace_schema_metadata(metadata))
        found[str(metadata)] = sink.getvalue().to_pybytes()
    return found


@pytest.mark.parametrize("kind", results())
def test_a_result_that_is_none_is_made_again(kind: str, source: Path, tmp_path: Path) -> None:
    """Its checksum is that of its bytes."""
    assert shard_tools_here("pack", source, tmp_path / "whole").code == 0
    (tmp_path / "dst" / ".pack" / "shards").mkdir(parents=True)
    raw = results()[kind]
    for number in range(2):
        place = tmp_path / "dst" / ".pack" / "shards" / f"{number:06d}.arrow"
        place.write_bytes(raw + zlib.crc32(raw).to_bytes(4, "little"))
    done = shard_tools_here("pack", source, tmp_path / "dst")
    assert done.code == 0, done.err
    assert index_rows(tmp_path / "dst") == index_rows(tmp_path / "whole")
    assert not os.path.exists(tmp_path / "dst" / ".pack")


@pytest.mark.parametrize("name", ["GenImage.unfinished", "GenImage", "shards", "report.html"])
def test_the_demo_writes_through_no_link(name: str, outside: Path, tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / name).symlink_to(outside / "victim" if name == "report.html" else outside)
    with pytest.raises(ValueError, match="choose a folder"):
        run_demo(tmp_path / "demo")
    with pytest.raises(ValueError, match="not a folder"):
        run_demo(outside / "victim")
    assert untouched(outside)
