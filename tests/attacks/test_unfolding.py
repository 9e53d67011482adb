"""Compressed tars that unfold to far more than there is room for."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from shard_tools.errors import TargetError
from shard_tools.sources.unfold import need_room
from tests.fixtures.genimage import make_tree
from tests.shard_tools.conftest import shard_tools, shard_tools_here
from tests.shard_tools.test_interruptions import small_disk

ZEROS = 12_000_000  # bytes, in 12 kB of the tar


def bomb(folder: Path, *, first: bool) -> Path:
    """A tar with images, and a file of zeros before or behind them."""
    make_tree(folder / "tree", generators=("adm",), count=1)
    (folder / "src").mkdir()
    zeros = tarfile.TarInfo("zeros.bin")
    zeros.size = ZEROS
    with tarfile.open(folder / "src" / "all.tar.gz", "w:gz") as tar:
        if first:
            tar.addfile(zeros, io.BytesIO(bytes(ZEROS)))
        tar.add(folder / "tree", ".")
        if not first:
            tar.addfile(zeros, io.BytesIO(bytes(ZEROS)))
    return folder / "src"


def test_what_is_behind_the_images_is_not_written(tmp_path: Path) -> None:
    source = bomb(tmp_path, first=False)
    assert shard_tools_here("plan", source, tmp_path / "dst").code == 0
    (unfolded,) = (tmp_path / "dst").glob(".pack/unfolded/*")
    assert unfolded.stat().st_size < 1_000_000
    assert shard_tools_here("pack", source, tmp_path / "dst", "--part", "1/1").code == 0
    assert shard_tools_here("gather", tmp_path / "dst").code == 0
    assert shard_tools_here("verify", tmp_path / "dst").code == 0


def test_no_room_is_said_before_anything_is_written(tmp_path: Path) -> None:
    source = bomb(tmp_path, first=True)
    with small_disk(tmp_path / "disk", "4m"):
        done = shard_tools("pack", source, tmp_path / "disk" / "dst")
        assert done.code == 2
        assert "unfold to 12 MB" in done.err
        assert not list((tmp_path / "disk").rglob("*.part"))
    with pytest.raises(TargetError, match="unfold to 1,000,000,000 MB"):
        need_room(str(tmp_path), 10**15)
