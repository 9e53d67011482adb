"""Whole groups that end in quarantine: exit code 1, with the groups and the reasons, however the rest went."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures.genimage import make_tree
from tests.shard_tools.conftest import shard_tools_here

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 9\n"


def spoil(root: Path, *wanted: str) -> int:
    """Turn files whose paths have all of these words into pointers of Git LFS."""
    files = [path for path in root.rglob("*.*") if all(word in path.parts or word in path.name for word in wanted)]
    for path in files:
        path.write_bytes(POINTER)
    return len(files)


@pytest.mark.parametrize(
    ("wanted", "lost"),
    [
        ((), 8),
        (("nature",), 4),
        (("val",), 4),
        (("ADM",), 4),
        (("ADM", "val", "ai"), 1),
    ],
    ids=["everything", "a label", "a split", "a generator", "one group"],
)
def test_a_lost_group_is_exit_code_1(wanted: tuple[str, ...], lost: int, tmp_path: Path) -> None:
    make_tree(tmp_path / "src", generators=("adm", "biggan"), count=2)
    count = spoil(tmp_path / "src", *wanted)
    done = shard_tools_here("pack", tmp_path / "src", tmp_path / "dst")
    assert done.code == 1
    assert f"{count}  not an image" in done.out
    assert done.out.count("none of its files could be packed") == lost
    again = shard_tools_here("pack", tmp_path / "src", tmp_path / "dst", "--json")
    assert (again.code, again.json["state"], len(again.json["lost"])) == (1, "finished", lost)


def test_a_group_that_lost_some_files_is_exit_code_0(tmp_path: Path) -> None:
    make_tree(tmp_path / "src", generators=("adm",), count=2)
    next((tmp_path / "src").rglob("*.PNG")).write_bytes(POINTER)
    done = shard_tools_here("pack", tmp_path / "src", tmp_path / "dst")
    assert done.code == 0
    assert "1  not an image" in done.out
    assert shard_tools_here("pack", tmp_path / "src", tmp_path / "dst", "--strict").code == 1


def test_a_generator_without_a_label_is_exit_code_1(tmp_path: Path) -> None:
    """DiffusionForensics without its --map: reals alone would be packed."""
    make_tree(tmp_path / "src", generators=("adm",), count=2)
    for folder in ("holiday", "ddpm"):
        (tmp_path / "src" / folder).mkdir()
        (tmp_path / "src" / folder / "a.png").write_bytes(b"x")
        done = shard_tools_here("pack", tmp_path / "src", tmp_path / folder)
        assert done.code == (folder == "ddpm")
        assert done.out.count("none of its files could be packed") == (folder == "ddpm")
    for path in (tmp_path / "src").rglob("*.PNG"):
        path.unlink()
    again = shard_tools_here("pack", tmp_path / "src", tmp_path / "reals", "--json")
    assert (again.code, [line.partition(":")[0] for line in again.json["lost"]]) == (1, ["ddpm", "holiday"])


def test_no_sample_at_all_is_exit_code_1(tmp_path: Path) -> None:
    """Also where no file tells its group."""
    (tmp_path / "src" / "odd").mkdir(parents=True)
    (tmp_path / "src" / "odd" / "a.png").write_bytes(POINTER)
    done = shard_tools_here("pack", tmp_path / "src", tmp_path / "dst")
    assert done.code in (1, 2)
