"""A finished dataset that lost files: the same command makes them again, to the same bytes, and no others."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.genimage import make_tree
from tests.shard_tools.conftest import pack_here, shard_tools_here, tree_bytes

Tree = tuple[Path, list[Any]]
SHARD = "adm/train/adm-train-00000.tar"


def pack_again(source: Path, destination: Path) -> Any:
    return shard_tools_here("pack", source, destination, "--shard-size", "60kB")


@pytest.mark.parametrize(
    "lost",
    [[SHARD], [SHARD.replace(".tar", ".idx")], ["index.parquet"], ["quarantine.parquet"], ["index.parquet", SHARD]],
    ids=lambda lost: "+".join(name.rsplit("/")[-1] for name in lost),
)
def test_lost_files_are_made_again(lost: list[str], standard_tree: Tree, packed: Path, tmp_path: Path) -> None:
    destination = tmp_path / "dst"
    shutil.copytree(packed, destination)
    for name in lost:
        (destination / name).unlink()
    before = {path: path.stat().st_mtime_ns for path in destination.rglob("*.tar")}
    assert shard_tools_here("verify", destination).code == 1
    done = pack_again(standard_tree[0], destination)
    assert done.code == 0
    assert "is missing or cut off" in done.err
    assert "is whole again" in done.out
    assert tree_bytes(destination) == tree_bytes(packed)
    if "index.parquet" not in lost and "quarantine.parquet" not in lost:
        assert {p: p.stat().st_mtime_ns for p in before if p != destination / SHARD} == {
            p: at for p, at in before.items() if p != destination / SHARD
        }
    assert "nothing to do" in pack_again(standard_tree[0], destination).out


def test_a_shard_that_was_cut_off(standard_tree: Tree, packed: Path, tmp_path: Path) -> None:
    shutil.copytree(packed, tmp_path / "dst")
    with open(tmp_path / "dst" / SHARD, "r+b") as file:
        file.truncate(5000)
    assert pack_again(standard_tree[0], tmp_path / "dst").code == 0
    assert tree_bytes(tmp_path / "dst") == tree_bytes(packed)


def test_a_source_that_is_no_longer_what_it_was(tmp_path: Path) -> None:
    """The plan knows names and sizes, not bytes: what was made again is compared with what it was."""
    made = make_tree(tmp_path / "src", generators=("adm",), splits=("train",), count=4)
    pack_here(tmp_path / "src", tmp_path / "dst")
    (shard,) = (tmp_path / "dst").rglob("*.tar")
    shard.unlink()
    (tmp_path / "src" / made[0].path).write_bytes(bytes(len(made[0].data)))
    done = pack_again(tmp_path / "src", tmp_path / "dst")
    assert done.code == 2
    assert f"{shard} was made again and is not what it was" in done.err
