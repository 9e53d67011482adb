"""Tars as sources: trees of files, and WebDataset shards of others."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest

import genimage_stream as gs
from shard_tools.errors import ToolError
from shard_tools.layout.columns import parse_columns
from shard_tools.layout.mapping import parse_mapping
from shard_tools.scan import Listing, scan
from shard_tools.sources.base import Location
from shard_tools.sources.tar_file import open_tar
from tests.fixtures.genimage import fake_png, make_tree
from tests.shard_tools.conftest import index_rows, pack_here, tars

RNG = np.random.default_rng(0)
PNGS = [fake_png(RNG, 16) for _ in range(4)]


def tar(path: Path, members: Mapping[str, bytes | str | dict[str, Any]], mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as out:  # type: ignore[call-overload]
        for name, content in members.items():
            data = json.dumps(content).encode() if isinstance(content, dict) else content
            data = data.encode() if isinstance(data, str) else data
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return path


def listing(root: Path, columns: str | None = None, labels: str | None = None, *maps: str) -> Listing:
    return scan([str(root)], columns=parse_columns(columns, labels), mappings=[parse_mapping(m) for m in maps])


def told(*arguments: Any) -> list[tuple[str, str, str]]:
    found = listing(*arguments)
    groups = [found.groups[number] for number in found.group]
    return sorted((g.generator, g.split, g.label) for g in groups)


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tgz", "tar.bz2", "tar.xz"])
@pytest.mark.parametrize("lead", ["", "./"])
def test_a_tree_in_a_tar_gives_the_same_tars(suffix: str, lead: str, tmp_path: Path) -> None:
    made = make_tree(tmp_path / "src", generators=("adm",), count=2)
    packing = {"": "w", "gz": "w:gz", "tgz": "w:gz", "bz2": "w:bz2", "xz": "w:xz"}
    members: dict[str, Any] = {lead + m.path: m.data for m in made} | {f"{lead}ADM/._x.png": b"x"}
    mode = packing[suffix.rpartition(".")[2].removeprefix("tar")]
    path = tar(tmp_path / "tarred" / f"GenImage.{suffix}", members, mode)
    pack_here(tmp_path / "src", tmp_path / "dst")
    done = pack_here(tmp_path / "tarred", tmp_path / "dst2")
    assert tars(tmp_path / "dst") == tars(tmp_path / "dst2")
    assert done.system_files == 1
    assert {row["source"] for row in index_rows(tmp_path / "dst2")} == {f"{path.name}:{m.path}" for m in made}
    assert len(listing(path)) == len(made)  # the tar itself as SRC


SHARDS: dict[str, tuple[dict[str, Any], str | None, str | None]] = {
    "json": ({"0.png": PNGS[0], "0.json": {"label": "fake", "model": "flux", "split": "train"}}, None, None),
    "cls": ({"0.png": PNGS[0], "0.cls": "1", "0.json": {"model": "flux"}}, None, "0=real,1=fake"),
    "txt": ({"0.png": PNGS[0], "0.cls": "7", "0.txt": "flux"}, "generator=txt", "7=fake"),
    "fields": ({"0.png": PNGS[0], "0.json": {"who": "flux", "y": True}}, "generator=who,label=y", "true=fake"),
    "suffixes": (
        {"0.left.png": PNGS[0], "0.mask.png": PNGS[1], "0.json": {"label": "ai", "model": "flux"}},
        "image=left.png",
        None,
    ),
    "no name of an image": ({"0.img": PNGS[0], "0.json": {"label": "ai", "model": "flux"}}, "image=img", None),
}


@pytest.mark.parametrize("kind", SHARDS)
def test_what_the_members_of_a_sample_say(kind: str, tmp_path: Path) -> None:
    members, columns, labels = SHARDS[kind]
    tar(tmp_path / "src" / "train-000012.tar", members)
    assert told(tmp_path / "src", columns, labels) == [("flux", "train", "fake")]
    pack_here(tmp_path / "src", tmp_path / "dst", columns=parse_columns(columns, labels))
    assert [row["generator"] for row in index_rows(tmp_path / "dst")] == ["flux"]


@pytest.mark.parametrize("names", [("original.jpg", "edited.jpg"), ("jpg", "mask.png"), ("1.png", "0.png")])
def test_samples_of_several_images(names: tuple[str, str], tmp_path: Path) -> None:
    members = {f"{n}.{name}": PNGS[0] for n in range(2) for name in names}
    tar(tmp_path / "m" / "fake" / "train-0.tar", members)
    with pytest.raises(ToolError, match=r"2 of its samples hold several images .*--columns image="):
        listing(tmp_path)
    assert told(tmp_path, f"image={names[1]}") == [("m", "train", "fake")] * 2


def test_dots_in_names_make_no_several_images(tmp_path: Path) -> None:
    tar(
        tmp_path / "m" / "fake" / "train-0.tar", {f"a.v{n}.png": PNGS[n] for n in range(2, 4)} | {"b.mask.png": PNGS[0]}
    )
    assert len(told(tmp_path)) == 3


def test_bare_numbers_are_asked_for(tmp_path: Path) -> None:
    tar(tmp_path / "00000.tar", {"0.png": PNGS[0], "0.cls": "1", "1.png": PNGS[1], "1.cls": "0"})
    with pytest.raises(ToolError, match=r"00000.tar: its column 'cls' holds 0, 1, and nothing says .*--labels 0=real"):
        listing(tmp_path)


def test_shards_that_need_a_map(tmp_path: Path) -> None:
    """img2dataset's: numbered tars of photographs, with captions. Their numbers name no generator."""
    for number in range(2):
        members = {"000.jpg": PNGS[0], "000.txt": "a dog", "000.json": {"caption": "a dog", "url": "u"}}
        tar(tmp_path / f"{number:05d}.tar", members)
    with pytest.raises(ToolError, match=r"00000.tar: 1 image is not taken.*--map .* or, where a column says it"):
        listing(tmp_path)
    assert told(tmp_path, None, None, ".=:train:real") == [("real", "train", "real")] * 2


def test_repacking_our_own_shards(tmp_path: Path) -> None:
    make_tree(tmp_path / "src", generators=("adm", "sd15"), count=3)
    pack_here(tmp_path / "src", tmp_path / "dst")
    for path in (tmp_path / "dst").rglob("*.tar"):
        (tmp_path / "alone").mkdir(exist_ok=True)
        path.rename(tmp_path / "alone" / path.name)
    pack_here(tmp_path / "alone", tmp_path / "dst2", seed=5)
    facts = ("generator", "split", "label", "sha256")
    before, after = (
        {tuple(row[name] for name in facts) for row in index_rows(tmp_path / name)} for name in ("dst", "dst2")
    )
    assert before == after


def test_tars_within_archives_are_refused(tmp_path: Path) -> None:
    inner = tar(tmp_path / "inner.tar", {"ADM/train/ai/0_adm_1.PNG": PNGS[0]})
    (tmp_path / "src").mkdir()
    with zipfile.ZipFile(tmp_path / "src" / "outer.zip", "w") as archive:
        archive.write(inner, "ADM/inner.tar")
    with pytest.raises(ToolError, match=r"outer.zip: the 1 archives in it are not read.*unpack it"):
        listing(tmp_path / "src")
    tar(tmp_path / "tars" / "outer.tar", {"ADM/train/ai/0_adm_1.PNG": PNGS[0], "inner.zip": b"x", "a.tar.gz": b"x"})
    assert "the 2 archives or tables in it are not read" in listing(tmp_path / "tars").incomplete[0]


@pytest.mark.parametrize("how", ["cut", "garbage", "empty", "concatenated", "header", "gz"])
def test_damaged_tars(how: str, tmp_path: Path) -> None:
    path = tar(tmp_path / "ADM" / "x.tar", {f"train/ai/{n}_adm_1.PNG": PNGS[n] for n in range(4)})
    raw = path.read_bytes()
    size = len(PNGS[0]) // 512 * 512 + 1024
    changed = {
        "cut": raw[: size + 600],
        "garbage": b"no tar" * 999,
        "empty": b"",
        "concatenated": raw + raw,
        "header": raw[:size] + b"\xff" * 512 + raw[size + 512 :],
        "gz": b"\x1f\x8b no",
    }
    path.unlink()
    path.with_name("x.tgz" if how == "gz" else "x.tar").write_bytes(changed[how])
    with pytest.raises(ToolError, match=r"x.t.* cannot be read: .*; download it again"):
        listing(tmp_path)


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz", "train.parquet", "train.arrow", "ADM.zip", "ADM.zip.001"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64, "Git LFS pointer.*`git lfs pull`"),
        (b"\n<!DOCTYPE html><html>Quota exceeded", "it is a web page"),
    ],
)
def test_what_a_download_left_instead(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ToolError, match=said):
        listing(tmp_path)


def test_archives_that_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "BigGAN.7z").write_bytes(b"x")
    with pytest.raises(ToolError, match=r"no recognisable layout; 1 .7z are not read.*unpack"):
        listing(tmp_path)
    tar(tmp_path / "x.tar", {"ADM/train/ai/0_adm_1.PNG": PNGS[0]})
    assert any("1 .7z are not read" in line for line in listing(tmp_path).problems)


def test_links_in_a_tar_are_said(tmp_path: Path) -> None:
    path = tar(tmp_path / "x.tar", {"ADM/train/ai/0_adm_1.PNG": PNGS[0]})
    with tarfile.open(path, "a") as out:
        info = tarfile.TarInfo("ADM/train/ai/link.png")
        info.type, info.linkname = tarfile.SYMTYPE, "0_adm_1.PNG"
        out.addfile(info)
    assert any("1 links and special files" in line for line in listing(tmp_path).problems)


def test_columns_that_are_kept(tmp_path: Path) -> None:
    for number in range(4):
        fields = {"label": "fake", "model": "flux", "seed": number, "strength": number / 2, "prompt": f"a dog {number}"}
        tar(tmp_path / "src" / f"train-{number}.tar", {f"{number}.png": PNGS[number], f"{number}.json": fields})
    make_tree(tmp_path / "src", generators=("adm",), splits=("train",), count=2)  # which have none of these
    columns = parse_columns(None, None, "prompt,seed,strength")
    pack_here(tmp_path / "src", tmp_path / "dst", columns=columns)
    dataset = gs.open_dataset(tmp_path / "dst")
    assert len(dataset.select(where=pc.field("x_seed") >= 2)) == 2
    assert len(dataset.select(where=pc.field("x_prompt") == "a dog 1")) == 1
    assert len(dataset.select(where=pc.field("x_strength").is_null())) == 4
    pack_here(tmp_path / "src", tmp_path / "plain")
    assert tars(tmp_path / "plain") == tars(tmp_path / "dst")
    assert not any(name.startswith("x_") for name in index_rows(tmp_path / "plain")[0])
    with pytest.raises(ToolError, match="keep"):  # another index than the one that is there
        pack_here(tmp_path / "src", tmp_path / "dst")
    with pytest.raises(ToolError, match="--keep nothing: no image has such a column"):
        pack_here(tmp_path / "src", tmp_path / "other", columns=parse_columns(None, None, "nothing"))


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_tars_through_an_object_store(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Listed and unfolded by obstore, here from a folder."""
    store = pytest.importorskip("obstore.store").LocalStore(prefix=str(tmp_path))
    made = {f"ADM/train/ai/{n}_adm_1.PNG": PNGS[n] for n in range(4)}
    tar(tmp_path / f"x.{suffix}", made, "w:gz" if suffix.endswith("gz") else "w")
    monkeypatch.setattr("shard_tools.sources.table_file.open_object", lambda path: (store, path.rpartition("/")[2]))
    found = open_tar(f"s3://bucket/x.{suffix}", f"x.{suffix}")
    (folder,) = found.contents().folders
    assert folder.names == [path.rpartition("/")[2] for path in made]
    if found.sequential:
        local = found.unfold(str(tmp_path / "unfolded.tar"))
        where = [Location("", size, at) for size, at in zip(folder.sizes, folder.offsets, strict=True)]
        reader = local.reader()
        assert [reader.read(one) for one in where] == list(made.values())
        reader.close()
    assert "cannot be read" in open_tar(f"s3://bucket/lost.{suffix}", "lost.tar").contents().incomplete[0]
