"""Multi-volume zips, made by Info-ZIP, read in place: the same tars as from folders, and every known mishap named."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shard_tools.errors import ToolError
from shard_tools.sources.volumes import volume_sets
from tests.fixtures.genimage import Made, fake_png, make_tree
from tests.shard_tools.conftest import index_rows, pack_here, quarantine_rows, shard_tools_here, tars

pytestmark = pytest.mark.skipif(not shutil.which("zip"), reason="needs Info-ZIP's zip")

ARCHIVE = "imagenet_midjourney"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A tree of one generator, about 700 kB, with the tars that it packs to."""
    root = tmp_path_factory.mktemp("zips")
    made = make_tree(root / "tree", generators=("midjourney",), count=16)
    pack_here(root / "tree", root / "dst")
    return {"root": root / "tree", "made": made, "tars": tars(root / "dst")}


def zipped(source: dict[str, Any], to: Path, *options: str) -> Path:
    """Zip the tree as GenImage is distributed; returns the folder with the volumes."""
    folder = to / "Midjourney"
    folder.mkdir(parents=True)
    command = ["zip", "-q", "-r", *(options or ("-s", "64k")), str(folder / f"{ARCHIVE}.zip"), ARCHIVE]
    subprocess.run(command, cwd=source["root"] / "Midjourney", check=True)
    return folder


@pytest.mark.parametrize(
    "options",
    [("-s", "64k"), ("-s", "64k", "-0"), ("-s", "100k", "-fz", "-1"), ("-9",), ("-0", "-fd")],
    ids=["deflate", "stored", "zip64", "one volume", "descriptors"],
)
def test_the_same_tars_as_from_folders(options: tuple[str, ...], source: dict[str, Any], tmp_path: Path) -> None:
    folder = zipped(source, tmp_path / "src", *options)
    volumes = sorted(path.name for path in folder.iterdir())
    assert len(volumes) >= (7 if "-s" in options else 1)
    pack_here(tmp_path / "src", tmp_path / "dst")
    assert tars(tmp_path / "dst") == source["tars"]
    assert sorted(path.name for path in folder.iterdir()) == volumes
    made: list[Made] = source["made"]
    expected = {f"Midjourney/{ARCHIVE}.zip:{m.path.removeprefix('Midjourney/')}" for m in made}
    assert {row["source"] for row in index_rows(tmp_path / "dst")} == expected


def test_archive_without_its_outer_folder_and_given_as_a_file(source: dict[str, Any], tmp_path: Path) -> None:
    folder = zipped(source, tmp_path / "src")
    pack_here(folder / f"{ARCHIVE}.zip", tmp_path / "dst")
    assert tars(tmp_path / "dst") == source["tars"]


def test_members_that_begin_at_the_split_folder(source: dict[str, Any], tmp_path: Path) -> None:
    """Archives of `train/...` alone: the archive's own name says the generator."""
    (tmp_path / "src").mkdir()
    inner = source["root"] / "Midjourney" / ARCHIVE
    subprocess.run(["zip", "-q", "-r", str(tmp_path / "src" / "MidJourney.zip"), "."], cwd=inner, check=True)
    pack_here(tmp_path / "src", tmp_path / "dst")
    assert tars(tmp_path / "dst") == source["tars"]


@pytest.mark.parametrize("options", [("-s", "64k"), ("-s", "64k", "-0"), ("-s", "64k", "-0", "-fz")])
def test_concatenated_volumes_with_stale_numbers(
    options: tuple[str, ...], source: dict[str, Any], tmp_path: Path
) -> None:
    folder = zipped(source, tmp_path / "volumes", *options)
    (tmp_path / "src").mkdir()
    with open(tmp_path / "src" / "midjourney.zip", "wb") as whole:
        for path in [*sorted(folder.glob("*.z[0-9]*")), folder / f"{ARCHIVE}.zip"]:
            whole.write(path.read_bytes())
    pack_here(tmp_path / "src", tmp_path / "dst")
    assert tars(tmp_path / "dst") == source["tars"]


@pytest.mark.parametrize("options", [("-s", "64k"), ("-s", "64k", "-0", "-fz")])
def test_concatenated_under_the_old_name(options: tuple[str, ...], source: dict[str, Any], tmp_path: Path) -> None:
    """`cat x.z* x.zip > whole; mv whole x.zip`: the numbered volumes still lie beside it."""
    folder = zipped(source, tmp_path / "src", *options)
    volumes = [*sorted(folder.glob("*.z[0-9]*")), folder / f"{ARCHIVE}.zip"]
    volumes[-1].write_bytes(b"".join(path.read_bytes() for path in volumes))
    done = pack_here(tmp_path / "src", tmp_path / "dst")
    assert tars(tmp_path / "dst") == source["tars"]
    assert any("holds the whole archive" in problem for problem in done.problems)


def test_joined_under_the_old_name(source: dict[str, Any], tmp_path: Path) -> None:
    """`zip -s 0` makes a plain archive of a set."""
    folder = zipped(source, tmp_path / "src")
    whole = zipped(source, tmp_path / "whole", "-0") / f"{ARCHIVE}.zip"
    shutil.copy(whole, folder / f"{ARCHIVE}.zip")
    pack_here(tmp_path / "src", tmp_path / "dst")
    assert tars(tmp_path / "dst") == source["tars"]


def test_concatenated_volumes_with_data_descriptors(source: dict[str, Any], tmp_path: Path) -> None:
    """Info-ZIP does not cut archives with data descriptors, so the stale numbers are written by hand."""
    path = zipped(source, tmp_path / "src", "-0", "-fd") / f"{ARCHIVE}.zip"
    raw = bytearray(path.read_bytes())
    end = raw.rfind(b"PK\x05\x06")
    members, size, at = struct.unpack_from("<HLL", raw, end + 10)
    assert size
    border = disk = 0
    for number in range(members):
        name, extra, comment = struct.unpack_from("<3H", raw, at + 28)
        (offset,) = struct.unpack_from("<L", raw, at + 42)
        if number % 5 == 4:
            border, disk = offset - 7, disk + 1  # the member before runs on into the next volume for 7 bytes
        struct.pack_into("<H", raw, at + 34, disk)
        struct.pack_into("<L", raw, at + 42, offset - border)
        at += 46 + name + extra + comment
    struct.pack_into("<2H", raw, end + 4, disk, disk)
    path.write_bytes(bytes(raw))
    pack_here(tmp_path / "src", tmp_path / "dst")
    assert tars(tmp_path / "dst") == source["tars"]


def test_concatenated_in_the_wrong_order(source: dict[str, Any], tmp_path: Path) -> None:
    folder = zipped(source, tmp_path / "volumes")
    (tmp_path / "src").mkdir()
    parts = sorted(folder.glob("*.z[0-9]*"))
    parts[1], parts[2] = parts[2], parts[1]
    whole = b"".join(path.read_bytes() for path in [*parts, folder / f"{ARCHIVE}.zip"])
    (tmp_path / "src" / "midjourney.zip").write_bytes(whole)
    with pytest.raises(ToolError, match=r"midjourney\.zip: volumes were concatenated .* in order"):
        pack_here(tmp_path / "src", tmp_path / "dst")


def test_slices_of_a_plain_zip(source: dict[str, Any], tmp_path: Path) -> None:
    whole = (zipped(source, tmp_path / "volumes", "-0") / f"{ARCHIVE}.zip").read_bytes()
    (tmp_path / "src").mkdir()
    for number, at in enumerate(range(0, len(whole), 100_000), 1):
        (tmp_path / "src" / f"{ARCHIVE}.zip.{number:03d}").write_bytes(whole[at : at + 100_000])
    pack_here(tmp_path / "src", tmp_path / "dst")
    assert tars(tmp_path / "dst") == source["tars"]
    (tmp_path / "src" / f"{ARCHIVE}.zip.003").unlink()
    with pytest.raises(ToolError, match=r"imagenet_midjourney\.zip\.003 is missing"):
        pack_here(tmp_path / "src", tmp_path / "dst2")


def test_bytes_before_the_archive(source: dict[str, Any], tmp_path: Path) -> None:
    path = zipped(source, tmp_path / "src", "-0") / f"{ARCHIVE}.zip"
    path.write_bytes(b"#!/bin/sh\nexit\n" + path.read_bytes())
    pack_here(tmp_path / "src", tmp_path / "dst")
    assert tars(tmp_path / "dst") == source["tars"]


@pytest.mark.parametrize("style", ["{stem}-001{suffix}", "{stem} (1){suffix}", "{stem}{suffix}-001", "{STEM}{suffix}"])
def test_names_that_browsers_changed(style: str, source: dict[str, Any], tmp_path: Path) -> None:
    folder = zipped(source, tmp_path / "src")
    for path in list(folder.iterdir()):
        names = {"stem": path.stem, "STEM": path.stem.upper(), "suffix": path.suffix}
        path.rename(folder / style.format(**names))
    pack_here(tmp_path / "src", tmp_path / "dst")
    assert tars(tmp_path / "dst") == source["tars"]


def test_a_number_for_each_volume(source: dict[str, Any], tmp_path: Path) -> None:
    """A drive numbers what it downloads: the suffix differs from volume to volume."""
    folder = zipped(source, tmp_path / "src")
    for number, path in enumerate(sorted(folder.iterdir()), 1):
        path.rename(folder / f"{path.stem}-{number:03d}{path.suffix}")
    pack_here(tmp_path / "src", tmp_path / "dst")
    assert tars(tmp_path / "dst") == source["tars"]


def test_a_volume_present_twice(source: dict[str, Any], tmp_path: Path) -> None:
    folder = zipped(source, tmp_path / "src")
    shutil.copy(folder / f"{ARCHIVE}.z02", folder / f"{ARCHIVE} (1).z02")
    (folder / f"{ARCHIVE}-001.z03").write_bytes(b"")
    done = pack_here(tmp_path / "src", tmp_path / "dst")
    assert tars(tmp_path / "dst") == source["tars"]
    assert sum("more than once" in problem for problem in done.problems) == 2


@pytest.mark.parametrize("fault", ["missing", "empty"])
def test_a_missing_volume_is_named(fault: str, source: dict[str, Any], tmp_path: Path) -> None:
    folder = zipped(source, tmp_path / "src")
    victim = folder / f"{ARCHIVE}.z03"
    whole = victim.read_bytes()
    victim.unlink()
    if fault == "empty":
        victim.write_bytes(b"")
    done = shard_tools_here("pack", tmp_path / "src", tmp_path / "dst")
    assert done.code == 2
    assert f"{victim} is missing or empty" in done.err
    assert "--allow-missing-volumes" in done.err
    assert not (tmp_path / "dst").exists()
    seen = shard_tools_here("scan", tmp_path / "src", "--json").json
    assert any(str(victim) in problem for problem in seen["problems"])

    pack_here(tmp_path / "src", tmp_path / "part", allow_missing_volumes=True)
    bad = quarantine_rows(tmp_path / "part")
    good = index_rows(tmp_path / "part")
    assert len(bad) + len(good) == len(source["made"])
    assert 0 < len(bad) < len(good)
    assert all("z03 is missing" in row["reason"] for row in bad.values())

    victim.write_bytes(whole)
    pack_here(tmp_path / "src", tmp_path / "dst")
    assert tars(tmp_path / "dst") == source["tars"]


def test_the_last_volumes_missing(source: dict[str, Any], tmp_path: Path) -> None:
    folder = zipped(source, tmp_path / "src")
    (folder / f"{ARCHIVE}.zip").rename(tmp_path / "away")
    with pytest.raises(
        ToolError, match=r"imagenet_midjourney\.zip is missing or empty: it is the volume with the archive"
    ):
        pack_here(tmp_path / "src", tmp_path / "dst")
    (tmp_path / "away").rename(folder / f"{ARCHIVE}.zip")
    last = sorted(folder.glob("*.z[0-9]*"))[-1]
    last.unlink()
    with pytest.raises(ToolError, match=re.escape(f"{last} is missing or empty")):
        pack_here(tmp_path / "src", tmp_path / "dst")


def test_a_truncated_volume_is_named(source: dict[str, Any], tmp_path: Path) -> None:
    folder = zipped(source, tmp_path / "src")
    victim = folder / f"{ARCHIVE}.z02"
    victim.write_bytes(victim.read_bytes()[:40_000])
    with pytest.raises(ToolError, match=re.escape(f"{victim} has 40000 bytes, which is not its original size")):
        pack_here(tmp_path / "src", tmp_path / "dst")


def test_a_truncated_zip(source: dict[str, Any], tmp_path: Path) -> None:
    path = zipped(source, tmp_path / "src", "-0") / f"{ARCHIVE}.zip"
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(ToolError, match=r"imagenet_midjourney\.zip: it does not end like a zip archive"):
        pack_here(tmp_path / "src", tmp_path / "dst")


@pytest.mark.parametrize(("options", "reason"), [(("-0",), "CRC-32"), (("-6",), "damaged archive")])
def test_damage_within_a_member(options: tuple[str, ...], reason: str, source: dict[str, Any], tmp_path: Path) -> None:
    path = zipped(source, tmp_path / "src", *options) / f"{ARCHIVE}.zip"
    with zipfile.ZipFile(path) as archive:
        victim = archive.infolist()[5]
    raw = bytearray(path.read_bytes())
    raw[victim.header_offset + 200] ^= 0x10
    path.write_bytes(bytes(raw))
    pack_here(tmp_path / "src", tmp_path / "dst")
    ((name, row),) = quarantine_rows(tmp_path / "dst").items()
    assert name.endswith(":" + victim.filename)
    assert reason in row["reason"]
    assert len(index_rows(tmp_path / "dst")) == len(source["made"]) - 1


@pytest.mark.skipif(not shutil.which("unzip"), reason="needs Info-ZIP's unzip (apt-get install unzip)")
def test_overlapped_components(tmp_path: Path) -> None:
    """A directory whose entries overlap is refused by `unzip` as a possible bomb; each entry is good nevertheless."""
    data = fake_png(np.random.default_rng(1), 32)
    path = tmp_path / "src" / "imagenet_ai_0424_sdv5.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("imagenet_ai_0424_sdv5/train/ai/000_sdv5_00001.png", data)
        archive.writestr("imagenet_ai_0424_sdv5/train/ai/000_sdv5_00002.png", data)
    raw = bytearray(path.read_bytes())
    second = raw.rfind(b"PK\x01\x02")
    raw[second + 42 : second + 46] = struct.pack("<L", 0)  # its data lie where the first one's do
    path.write_bytes(bytes(raw))
    refused = subprocess.run(["unzip", "-tq", str(path)], capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "overlapped" in refused.stdout + refused.stderr
    done = pack_here(tmp_path / "src", tmp_path / "dst")
    assert (done.samples, done.quarantined) == (2, 0)


def test_members_that_cannot_be_read(tmp_path: Path) -> None:
    data = fake_png(np.random.default_rng(1), 32)
    folder = "imagenet_ai_0508_adm/train/ai"
    path = tmp_path / "src" / "adm.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{folder}/0_adm_1.PNG", data)
        archive.writestr(f"{folder}/0_adm_2.PNG", data[:-30], zipfile.ZIP_BZIP2)
        archive.writestr(f"{folder}/0_adm_3.PNG", data[:-20])
        archive.writestr(f"{folder}/._0_adm_3.PNG", b"junk")
        archive.writestr(f"__MACOSX/{folder}/x.PNG", b"junk")
    raw = bytearray(path.read_bytes())
    third = [m.start() for m in re.finditer(b"PK\x01\x02", bytes(raw))][2]
    raw[third + 8] |= 1  # the flag of encryption
    path.write_bytes(bytes(raw))
    with pytest.raises(ToolError, match="1 of its images cannot be read, since each is encrypted"):
        pack_here(tmp_path / "src", tmp_path / "dst")
    done = pack_here(tmp_path / "src", tmp_path / "dst", allow_missing_volumes=True)
    reasons = {name[-5]: row["reason"] for name, row in quarantine_rows(tmp_path / "dst").items()}
    assert set(reasons) == {"2", "3"}
    assert "method 12" in reasons["2"]
    assert "encrypted" in reasons["3"]
    assert (done.samples, done.system_files) == (1, 2)


def test_zip_bomb_does_not_unfold(tmp_path: Path) -> None:
    path = tmp_path / "src" / "adm.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train/ai/0_adm_1.PNG", b"\x89PNG" + bytes(50_000_000))
    raw = bytearray(path.read_bytes())
    directory = raw.rfind(b"PK\x01\x02")
    raw[directory + 24 : directory + 28] = struct.pack("<L", 1000)
    path.write_bytes(bytes(raw))
    pack_here(tmp_path / "src", tmp_path / "dst")
    (row,) = quarantine_rows(tmp_path / "dst").values()
    assert "has 1001 bytes and its directory says 1000" in row["reason"]


def test_archives_beside_their_extracted_folders(source: dict[str, Any], tmp_path: Path) -> None:
    """Both are there: every image is one sample, and the other copy is listed as its duplicate."""
    zipped(source, tmp_path / "src")
    shutil.copytree(source["root"], tmp_path / "src", dirs_exist_ok=True)
    done = pack_here(tmp_path / "src", tmp_path / "dst")
    assert tars(tmp_path / "dst") == source["tars"]
    assert done.quarantined == len(source["made"])
    assert all(row["reason"].startswith("duplicate:") for row in quarantine_rows(tmp_path / "dst").values())


def test_volume_sets() -> None:
    names = [
        "a.z01",
        "a.z02",
        "a.zip",
        "b.zip",
        "b-001.zip",
        "c.zip.001",
        "c.zip.002",
        "D-001.Z01",
        "d-002.zip",
        "x.png",
    ]
    found = {tuple(sorted(volumes.names())) for volumes in volume_sets(names)}
    assert found == {
        ("a.z01", "a.z02", "a.zip"),
        ("b.zip",),
        ("b-001.zip",),
        ("c.zip.001", "c.zip.002"),
        ("D-001.Z01", "d-002.zip"),
    }
