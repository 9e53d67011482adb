"""Zips as other programs write them: read where that is possible, named and refused where it is not."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from shard_tools.errors import ToolError
from shard_tools.scan import scan
from shard_tools.sources.volumes import is_archive_name
from tests.fixtures.genimage import fake_png, real_jpeg
from tests.shard_tools.conftest import index_rows, pack_here, quarantine_rows, shard_tools_here


class Entry(NamedTuple):
    name: str
    data: bytes
    stored: bytes | None = None  # as it is compressed
    method: int = 0
    flags: int = 0


def png(number: int = 0, side: int = 8) -> bytes:
    return fake_png(np.random.default_rng(number), side)


def zip_bytes(entries: Iterable[Entry], *, said: int | None = None, gap: int = 0) -> tuple[bytes, bytes]:
    """(members, directory and end record) without ZIP64; `said`: what the end record counts; `gap`: bytes that are
    to be put between its members.
    """
    members, directory, count, shift = io.BytesIO(), io.BytesIO(), 0, 0
    for name, data, stored, method, flags in entries:
        raw, held = name.encode(), data if stored is None else stored
        sizes = (zlib.crc32(data), len(held), len(data), len(raw))
        at = (members.tell() + shift) & 0xFFFFFFFF
        head = struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, flags, method, 0, 0, *sizes, 0)
        members.write(head + raw + held)
        directory.write(
            struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 20, 20, flags, method, 0, 0, *sizes, 0, 0, 0, 0, 0, at)
        )
        directory.write(raw)
        count, shift = count + 1, shift + gap
    held = directory.getvalue()
    at, count = (members.tell() + max(0, shift - gap)) & 0xFFFFFFFF, (count if said is None else said)
    return members.getvalue(), held + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, count, count, len(held), at, 0)


def write(path: Path, entries: Iterable[Entry], said: int | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(zip_bytes(entries, said=said)))
    return path


@pytest.mark.parametrize("lead", ["./", "././", "/", ".//", "../"])
def test_members_that_begin_with_a_dot(lead: str, tmp_path: Path) -> None:
    """bsdtar (`tar -a -cf x.zip .` of Windows and macOS) writes them; they are no hidden files."""
    write(tmp_path / "src" / "x.zip", [Entry(f"{lead}ADM/train/ai/{n}_adm_1.PNG", png(n)) for n in range(4)])
    done = pack_here(tmp_path / "src", tmp_path / "dst")
    assert (done.samples, done.system_files) == (4, 0)
    assert {row["source"] for row in index_rows(tmp_path / "dst")} == {
        f"x.zip:ADM/train/ai/{n}_adm_1.PNG" for n in range(4)
    }


def test_more_members_than_the_end_record_can_count(tmp_path: Path) -> None:
    """macOS's Archive Utility writes no ZIP64 record, and the count modulo 65,536."""
    one = png(side=2)
    path = tmp_path / "src" / "ADM.zip"
    write(path, (Entry(f"ADM/train/ai/{n % 1000}_adm_{n}.PNG", one) for n in range(65_540)), said=4)
    assert len(scan([str(path.parent)])) == 65_540
    write(path, (Entry(f"ADM/train/ai/{n % 1000}_adm_{n}.PNG", one) for n in range(65_539)), said=4)
    with pytest.raises(ToolError, match="65539 readable entries and should have 4"):
        scan([str(path.parent)])


def test_more_bytes_than_the_end_record_can_say(tmp_path: Path) -> None:
    """The same program writes offsets modulo 2^32; what is between the members takes no room on the disk."""
    gap = 3 << 30
    entries = [Entry(f"ADM/train/ai/{n}_adm_1.PNG", png(n)) for n in range(5)]
    _, rest = zip_bytes(entries, gap=gap)
    (tmp_path / "src").mkdir()
    with open(tmp_path / "src" / "x.zip", "wb") as file:
        for number, entry in enumerate(entries):
            file.seek(gap if number else 0, 1)
            file.write(zip_bytes([entry])[0])
        file.write(rest)
    done = pack_here(tmp_path / "src", tmp_path / "dst")
    assert (done.samples, done.quarantined) == (5, 0)


@pytest.mark.parametrize("form", ["x.zip.{:03d}", "x.zip.{:02d}", "x.zip.{:04d}"])
@pytest.mark.parametrize("begin", [0, 1])
def test_pieces_and_the_number_that_they_begin_with(form: str, begin: int, tmp_path: Path) -> None:
    raw = b"".join(zip_bytes(Entry(f"ADM/train/ai/{n}_adm_1.PNG", png(n)) for n in range(9)))
    (tmp_path / "src").mkdir()
    size = len(raw) // 3 + 1
    for number in range(3):
        (tmp_path / "src" / form.format(number + begin)).write_bytes(raw[number * size : (number + 1) * size])
    assert pack_here(tmp_path / "src", tmp_path / "dst").samples == 9
    (tmp_path / "src" / form.format(begin + 1)).unlink()
    with pytest.raises(ToolError, match="is missing or empty"):
        scan([str(tmp_path / "src")])


@pytest.mark.parametrize("letters", [2, 3])
def test_pieces_that_split_names_by_letters(letters: int, tmp_path: Path) -> None:
    raw = b"".join(zip_bytes(Entry(f"ADM/train/ai/{n}_adm_1.PNG", png(n)) for n in range(9)))
    names = [
        f"x.zip.{'a' * (letters - 2)}{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(28 if letters == 2 else 26)
    ]
    size = len(raw) // len(names) + 1
    (tmp_path / "src").mkdir()
    for number, name in enumerate(names):
        (tmp_path / "src" / name).write_bytes(raw[number * size : (number + 1) * size])
    assert len(scan([str(tmp_path / "src")])) == 9
    (tmp_path / "src" / names[1]).unlink()
    with pytest.raises(ToolError, match=rf"{names[1]} is missing or empty"):
        scan([str(tmp_path / "src")])
    for name in ("y.zip.md5", "y.zip.txt", "y.zip.td", "y.zip.sha"):  # no pieces
        assert not is_archive_name(name)


def test_deflate64(tmp_path: Path) -> None:
    """7-Zip and Windows write it for large files: fakes are there (PNGs are stored) and all JPEGs are not."""
    inflate64 = pytest.importorskip("inflate64")
    entries = []
    for number in range(3):
        data = real_jpeg(np.random.default_rng(number), 40, 30)
        deflater = inflate64.Deflater()
        stored = deflater.deflate(data) + deflater.flush()
        entries.append(Entry(f"ADM/train/nature/n01440764_{number}.JPEG", data, stored, 9))
    bomb = inflate64.Deflater()
    stored = bomb.deflate(bytes(200_000_000)) + bomb.flush()
    entries.append(Entry("ADM/train/nature/n01440764_8.JPEG", b"a lie", stored, 9))
    entries.append(Entry("ADM/train/nature/n01440764_9.JPEG", data, b"\xff" + stored[1:900], 9))
    write(tmp_path / "src" / "x.zip", entries)
    done = pack_here(tmp_path / "src", tmp_path / "dst")
    assert (done.samples, done.quarantined) == (3, 2)
    reasons = {name[-6]: row["reason"] for name, row in quarantine_rows(tmp_path / "dst").items()}
    assert "has 6 bytes and its directory says 5" in reasons["8"]
    assert "damaged archive" in reasons["9"]


@pytest.mark.parametrize(
    ("method", "flags", "said"),
    [(99, 1, r"encrypted \(AES\)"), (0, 1, "is encrypted:"), (14, 0, r"compressed by LZMA \(method 14\)")],
    ids=["AES", "ZipCrypto", "LZMA"],
)
def test_what_cannot_be_read_stops_before_packing(method: int, flags: int, said: str, tmp_path: Path) -> None:
    write(tmp_path / "src" / "x.zip", [Entry("ADM/train/ai/1_adm_1.PNG", png(), None, method, flags)] * 2)
    with pytest.raises(ToolError, match=rf"x\.zip: 2 of its images cannot be read, since each (is )?{said}"):
        pack_here(tmp_path / "src", tmp_path / "dst")
    assert not (tmp_path / "dst").exists()
    write(
        tmp_path / "src" / "x.zip",
        [Entry("ADM/train/ai/1_adm_1.PNG", png()), Entry("notes.txt", b"", None, method, flags)],
    )
    assert pack_here(tmp_path / "src", tmp_path / "dst").samples == 1


@pytest.mark.parametrize("suffix", ["aria2", "crdownload", "part", "partial", "baiduyun.p.downloading"])
@pytest.mark.parametrize("given", ["folder", "archive"])
def test_a_download_that_is_not_finished(suffix: str, given: str, tmp_path: Path) -> None:
    path = write(tmp_path / "src" / "x.zip", [Entry("ADM/train/ai/1_adm_1.PNG", png())])
    (path.parent / f"x.zip.{suffix}").write_bytes(b"")
    (path.parent / f"x.png.{suffix}").write_bytes(b"")
    done = shard_tools_here("pack", path if given == "archive" else path.parent, tmp_path / "dst")
    assert done.code == 2
    assert f"the download of x.zip is not finished; let it finish, or remove x.zip.{suffix}" in done.err


def test_a_bomb_of_members_that_overlap(tmp_path: Path) -> None:
    """A hundred entries for the same bytes."""
    members, rest = zip_bytes([Entry("ADM/train/ai/0_adm_0.PNG", png())])
    entry, end = rest[:-22], rest[-22:]
    many = b"".join(entry.replace(b"0_adm_0", b"%d_adm_0" % (n % 10)) for n in range(100))
    end = end[:8] + struct.pack("<HHI", 100, 100, len(many)) + end[16:]
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "x.zip").write_bytes(members + many + end)
    with pytest.raises(ToolError, match="a zip bomb"):
        pack_here(tmp_path / "src", tmp_path / "dst")
