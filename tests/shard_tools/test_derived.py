"""Parts of a finished dataset: dropped generators, subsets, files under their old names."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import genimage_stream as gs
from shard_tools.derived.drop import drop
from shard_tools.derived.export import export
from shard_tools.derived.subset import subset
from shard_tools.derived.where import condition
from shard_tools.errors import SourceError, TargetError, ToolError
from shard_tools.terminal.progress import Silent
from tests.fixtures.genimage import fake_png, make_tree
from tests.fixtures.shards import edit_index
from tests.shard_tools.conftest import index_rows, pack_here, shard_tools_here, tars, tree_bytes
from tests.shard_tools.test_growth import KILLED, is_whole


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("parts") / "src"
    make_tree(root, generators=("adm", "sd14"), count=4)
    return root


@pytest.fixture(scope="module")
def whole(tree: Path) -> Path:
    pack_here(tree, tree.parent / "whole", shard_bytes=20_000)
    return tree.parent / "whole"


def test_drop_and_bring_back(tree: Path, whole: Path, tmp_path: Path) -> None:
    dst = tmp_path / "dst"
    shutil.copytree(whole, dst)
    done = shard_tools_here("drop", dst, "--generators", "SD14")
    assert (done.code, "without sd14; 16 samples" in done.out) == (0, True), done.err
    pack_here(tree, tmp_path / "adm", shard_bytes=20_000, generators=("adm",))
    assert tree_bytes(dst) == tree_bytes(tmp_path / "adm")
    assert shard_tools_here("verify", dst).code == 0
    pack_here(tree, dst, shard_bytes=20_000)
    assert tree_bytes(dst) == tree_bytes(whole)


def test_a_drop_that_is_killed(whole: Path, tmp_path: Path) -> None:
    dst = tmp_path / "dst"
    shutil.copytree(whole, dst)
    for moment in (4, 9):
        command = [sys.executable, "-c", KILLED, str(moment), "drop", str(dst), "--generators", "sd14"]
        assert subprocess.run(command, capture_output=True, check=False).returncode == -signal.SIGKILL
        assert "adm" in is_whole(dst)
    drop(str(dst), ["sd14"])
    assert shard_tools_here("verify", dst).code == 0
    assert set(gs.open_dataset(dst).generators) == {"adm"}
    assert not list(dst.rglob("*sd14*"))
    assert not (dst / ".pack").exists()


def test_drop_of_what_cannot_be_dropped(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="has no such generator; there are: adm, sd14"):
        drop(str(whole), ["glide"])
    with pytest.raises(ToolError, match="has no others; remove the folder"):
        drop(str(whole), ["adm", "sd14"])
    with pytest.raises(TargetError, match="no finished dataset"):
        drop(str(tmp_path), ["adm"])
    assert shard_tools_here("drop", whole, "--generators", ",").code == 2
    assert shard_tools_here("drop", whole).code == 2


@pytest.mark.parametrize("crop_ready", [False, True])
def test_a_subset_is_what_packing_its_files_gives(crop_ready: bool, tree: Path, tmp_path: Path) -> None:
    dst, out = tmp_path / "dst", tmp_path / "out"
    pack_here(tree, dst, shard_bytes=20_000, crop_ready=crop_ready)
    done = shard_tools_here("subset", dst, out, "--where", "split == 'val' and generator != 'adm'", "--json")
    assert done.code == 0, done.err
    assert done.json["samples"] == 8
    assert shard_tools_here("verify", out, "--decode").code == 0
    if not crop_ready:  # whose plan knows the sizes of the originals
        pack_here(tree, tmp_path / "packed", shard_bytes=20_000, generators=("sd14",), splits=("val",))
        assert tree_bytes(out) == tree_bytes(tmp_path / "packed")
    assert (
        "nothing to do" in shard_tools_here("subset", dst, out, "--where", "split == 'val' and generator != 'adm'").out
    )
    with pytest.raises(TargetError, match="holds another dataset"):
        subset(str(dst), str(out), "generator == 'adm'", 1, Silent())


def test_a_subset_that_is_killed(whole: Path, tmp_path: Path) -> None:
    command = ["subset", str(whole), str(tmp_path / "out"), "--where", "label == 'fake'", "--workers", "1"]
    killed = subprocess.run([sys.executable, "-c", KILLED, "9", *command], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert "going on" in shard_tools_here(*command).err
    subset(str(whole), str(tmp_path / "again"), "label == 'fake'", 1, Silent())
    assert tree_bytes(tmp_path / "out") == tree_bytes(tmp_path / "again")


def test_a_subset_of_a_damaged_dataset(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "dst")
    row = index_rows(whole)[0]
    with open(tmp_path / "dst" / row["shard"], "r+b") as file:
        file.seek(row["offset"] + 20)
        file.write(b"????")
    with pytest.raises(SourceError, match="bytes have changed"):
        subset(str(tmp_path / "dst"), str(tmp_path / "out"), "size > 0", 1, Silent())
    with pytest.raises(TargetError, match="bytes have changed"):
        export(str(tmp_path / "dst"), str(tmp_path / "files"), None, Silent())
    (tmp_path / "dst" / row["shard"]).unlink()
    with pytest.raises(SourceError, match="cannot be read"):
        subset(str(tmp_path / "dst"), str(tmp_path / "out"), "size > 0", 1, Silent())


def test_subsets_that_cannot_be(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"no sample of .* meets it"):
        subset(str(whole), str(tmp_path / "out"), "width > 5000", 1, Silent())
    with pytest.raises(ToolError, match="lies within the source"):
        subset(str(whole), str(whole / "out"), "width > 0", 1, Silent())
    assert shard_tools_here("subset", whole, tmp_path / "out").code == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("generator == 'adm'", lambda r: r["generator"] == "adm"),
        (
            "'adm' != generator and not (width < 60 or 50 >= height)",
            lambda r: r["generator"] != "adm" and r["width"] >= 60 and r["height"] > 50,
        ),
        ("50 < width <= 60", lambda r: 50 < r["width"] <= 60),
        ("format in ('png', 'webp')", lambda r: r["format"] == "png"),
        ("generator in ('ADM')", lambda r: r["generator"] == "adm"),  # no tuple to Python
        ("label not in ['real']", lambda r: r["label"] != "real"),
        ("split == 'test' and 'ai' != label", lambda r: r["split"] == "val" and r["label"] == "real"),
        ("format in ('JPG',) and generator != 'ADM'", lambda r: r["format"] == "jpeg" and r["generator"] != "adm"),
        ("jpeg_quality is None", lambda r: r["jpeg_quality"] is None),
        (
            "class_index is not None and not progressive",
            lambda r: r["class_index"] is not None and not r["progressive"],
        ),
        ("width > -1 and size >= 1.5", lambda r: True),
    ],
)
def test_conditions(text: str, same: Any, whole: Path) -> None:
    dataset = gs.open_dataset(whole)
    found = dataset.select(where=condition(text, dataset.access.columns.names)).table(["key"])["key"].to_pylist()
    assert found == [row["key"] for row in index_rows(whole) if same(row)]
    assert found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a condition"),
        ("generator = 'adm'", "not a condition near column"),
        ("colour == 'red'", "there is no column colour; there are: key, generator"),
        ("__import__('os').system('true')", "is not understood"),
        ("width * 2 > 5", "is not understood"),
        ("'a' == 'b'", "is not understood"),
        ("generator is 'adm'", "is not understood"),
        ("width == None", "is not understood"),
        ("width > -'a'", "is not understood"),
        ("width > 99999999999999999999", "is not understood"),
        ("key == '\\ud800'", "is not understood"),
        ("(" * 500 + "width", "not a condition"),
        ("width == 'wide'", "where="),
    ],
)
def test_conditions_that_are_none(text: str, said: str, whole: Path, tmp_path: Path) -> None:
    done = shard_tools_here("subset", whole, tmp_path / "out", "--where", text)
    assert done.code == 2
    assert said in done.err


def test_export_gives_the_files_back(tree: Path, whole: Path, tmp_path: Path) -> None:
    done = shard_tools_here("export", whole, tmp_path / "files")
    assert (done.code, "32 files" in done.out) == (0, True), done.err
    assert tree_bytes(tmp_path / "files") == tree_bytes(tree)
    assert "32 were there already" in shard_tools_here("export", whole, tmp_path / "files").out
    some = export(str(whole), str(tmp_path / "some"), "split == 'val' and generator == 'adm'", Silent())
    assert some.files == 8
    assert all("val" in name for name in tree_bytes(tmp_path / "some"))
    file = next(p for p in (tmp_path / "some").rglob("*") if p.is_file())
    file.write_bytes(b"mine")
    with pytest.raises(TargetError, match="is another file"):
        export(str(whole), str(tmp_path / "some"), None, Silent())
    assert file.read_bytes() == b"mine"


def test_export_of_members_of_archives(tmp_path: Path) -> None:
    """They come where extracting the archive would put them; packed again, they are the same shards."""
    rng = np.random.default_rng(1)
    for name in ("ADM", "glide"):
        (tmp_path / "src" / name).mkdir(parents=True)
        with zipfile.ZipFile(tmp_path / "src" / name / "part.zip", "w") as archive:
            archive.writestr("train/ai/x", fake_png(rng, 16))
            archive.writestr("train/nature/n01440764_1.png", fake_png(rng, 16))
    pack_here(tmp_path / "src", tmp_path / "dst")
    export(str(tmp_path / "dst"), str(tmp_path / "files"), None, Silent())
    assert set(tree_bytes(tmp_path / "files")) == {
        f"{name}/train/{file}" for name in ("ADM", "glide") for file in ("ai/x.png", "nature/n01440764_1.png")
    }
    pack_here(tmp_path / "files", tmp_path / "again")
    assert tars(tmp_path / "again") == tars(tmp_path / "dst")


def test_export_of_crop_ready_files_says_so(tree: Path, tmp_path: Path) -> None:
    pack_here(tree, tmp_path / "dst", crop_ready=True, generators=("adm",), splits=("val",))
    done = export(str(tmp_path / "dst"), str(tmp_path / "files"), None, Silent())
    assert "losslessly recoded" in done.notes[0]
    assert len(tree_bytes(tmp_path / "files")) == 8


@pytest.mark.parametrize("source", ["../../x.png", "/etc/x.png", "a//x.png", "", "same.png"])
def test_sources_that_are_no_names(source: str, whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "dst")

    def change(table: Any) -> Any:
        place = table.schema.get_field_index("source")
        return table.set_column(place, "source", [[source] * len(table)])

    edit_index(tmp_path / "dst", change)
    with pytest.raises(ToolError, match=r"no path within a folder|has no source|belong to several files"):
        export(str(tmp_path / "dst"), str(tmp_path / "files"), None, Silent())
    assert not (tmp_path / "files").exists()
    with pytest.raises(ToolError, match="local folder"):
        export(str(tmp_path / "dst"), "s3://bucket/x", None, Silent())
