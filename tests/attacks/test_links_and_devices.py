"""Sources and datasets with links, pipes and devices: nothing hangs, nothing is listed a million times."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import genimage_stream as gs
from shard_tools.errors import SourceError
from shard_tools.scan import scan
from tests.fixtures.genimage import fake_png, make_tree
from tests.shard_tools.conftest import index_rows, pack_here, quarantine_rows, shard_tools_here
from tests.shard_tools.test_unreadable import within


def test_folders_of_links_to_each_other(tmp_path: Path) -> None:
    """25 folders with two links each are 33 million paths."""
    for level in range(25):
        folder = tmp_path / "src" / f"{level}"
        folder.mkdir(parents=True)
        if level:
            for name in "ab":
                (folder / name).symlink_to(f"../{level - 1}")
    (tmp_path / "src" / "0" / "x.png").write_bytes(b"x")
    errors: list[str] = []

    def list_them() -> None:
        with pytest.raises(SourceError) as error:
            scan([str(tmp_path / "src")])
        errors.append(str(error.value))

    within(60, list_them)
    assert "paths to the same folder by links within linked folders" in errors[0]


def test_links_that_people_use(tmp_path: Path) -> None:
    """All generators share the reals of one by a link, and the source is a folder of links to generators."""
    make_tree(tmp_path / "disk", generators=("adm",), count=2)
    nature = next((tmp_path / "disk").rglob("train/nature"))
    for generator in ("biggan", "wukong"):
        train = tmp_path / "disk" / generator / "train"
        (train / "ai").mkdir(parents=True)
        (train / "ai" / "1.png").write_bytes(fake_png(np.random.default_rng(1), 8))
        (train / "nature").symlink_to(nature)
    (tmp_path / "src").mkdir()
    for generator in (tmp_path / "disk").iterdir():
        (tmp_path / "src" / generator.name).symlink_to(generator)
    pack_here(tmp_path / "src", tmp_path / "dst")
    reals = [
        row["generator"] for row in index_rows(tmp_path / "dst") if (row["label"], row["split"]) == ("real", "train")
    ]
    assert sorted(reals) == sorted(["adm", "biggan", "wukong"] * len(list(nature.iterdir())))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_link_to_a_file_of_proc(tmp_path: Path) -> None:
    make_tree(tmp_path / "src", generators=("adm",), count=2)
    folder = next((tmp_path / "src").rglob("train/ai"))
    (folder / "7_adm_1.PNG").symlink_to("/proc/self/status")
    (folder / "8_adm_1.PNG").symlink_to("/proc/kmsg")
    done = pack_here(tmp_path / "src", tmp_path / "dst")
    reasons = {Path(name).name: row["reason"] for name, row in quarantine_rows(tmp_path / "dst").items()}
    assert done.samples == 8
    assert "the system does not tell the file's size" in reasons["7_adm_1.PNG"]
    assert "8_adm_1.PNG" in reasons


FILES = ["dataset.json", "index.parquet", "quarantine.parquet", "shard", "idx"]


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
@pytest.mark.parametrize("name", FILES)
def test_a_dataset_whose_files_are_something_else(kind: str, name: str, packed: Path, tmp_path: Path) -> None:
    root = tmp_path / "dst"
    shutil.copytree(packed, root)
    shard = next(path.relative_to(root) for path in sorted(root.rglob("*.tar")))
    path = root / {"shard": shard, "idx": shard.with_suffix(".idx")}.get(name, Path(name))
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    answers: list[tuple[str, int]] = []

    def use() -> None:
        for command in (["verify", root], ["info", root], ["report", root, "--html", tmp_path / "x.html"]):
            done = shard_tools_here(*command)
            assert "internal error" not in done.err, done.err
            answers.append((str(command[0]), done.code))
        with contextlib.suppress(OSError, ValueError):
            for _ in gs.Loader(gs.open_dataset(root), 4, crop=8, threads=1):
                pass
        answers.append(("load", 0))

    within(120, use)
    assert len(answers) == 4
    assert answers[0] in {("verify", 1), ("verify", 2)}
    assert all(code in (0, 1, 2) for _, code in answers)
