"""Shards are what they were, byte for byte, whatever comes, from files and from archives."""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import tarfile
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shard_tools import read_ahead
from shard_tools.errors import SourceError
from shard_tools.readers import Readers
from shard_tools.scan import scan
from shard_tools.shard import write_shard
from shard_tools.target.local_storage import LocalStorage
from shard_tools.work import PackOptions, plan_work, shard_task
from tests.fixtures.genimage import bad_files, encode, fake_png, make_tree, pixels, real_jpeg
from tests.shard_tools.conftest import index_rows, pack_here, quarantine_rows, tars

#: Of all tars and indexes of `fixed_tree`, as of version 0.1.0.
DIGESTS = [
    ("full", "9024e74f747585975f239264d925eeaa3360445bb6a3dd02f93b07f82b159d89"),
    ("header", "d8e390b1aa415c9e79f8bc8710aee30df664f22ef477d44715983fd4ac8d1c87"),
]


def nothing(*_: int) -> None:
    pass


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sound, odd, broken and foreign files, large and small ones, and one name too long for a plain header."""
    root = tmp_path_factory.mktemp("mixed") / "src"
    make_tree(root, generators=("adm", "midjourney"), count=20)
    rng = np.random.default_rng(3)
    fakes = root / "ADM/imagenet_ai_0508_adm/train/ai"
    for number, data in enumerate(bad_files().values()):
        (fakes / f"0_adm_{900 + number}.PNG").write_bytes(data)
    for number, kind in enumerate(("gray", "cmyk", "progressive", "rotated", "png")):
        (fakes.parent / "nature" / f"n01440764_{900 + number}.JPEG").write_bytes(real_jpeg(rng, kind=kind))
    (fakes / "0_adm_950.png").write_bytes(encode(Image.fromarray(pixels(rng, 20, 30)), "WEBP"))
    (fakes / "0_adm_951.png").write_bytes(fake_png(rng, 300))
    pages = fake_png(rng, 64)
    (fakes / "0_adm_952.png").write_bytes(pages + bytes(-len(pages) % 4096))  # a whole number of pages
    (root / "flux/val/ai").mkdir(parents=True)
    (root / "flux/val/ai" / ("long" * 40 + ".png")).write_bytes(fake_png(rng, 20))
    return root


@pytest.fixture(scope="module")
def zipped(mixed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("zipped")
    with zipfile.ZipFile(root / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(mixed.rglob("*.*")):
            archive.write(path, path.relative_to(mixed))
    return root


def tar_of(members: list[tuple[str, bytes]]) -> bytes:
    """As Python's own module writes it, with the device numbers of POSIX.1-1988 and its two blocks at the end."""
    buffer = io.BytesIO()
    for name, data in members:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        block = info.tobuf(tarfile.PAX_FORMAT)
        head = bytearray(block[-512:])
        head[329:345] = b"0000000\0" * 2 if len(name) <= 100 else head[329:345]
        head[148:156] = b" " * 8
        head[148:156] = b"%06o\0 " % sum(head)
        buffer.write(block[:-512] + head + data + bytes(-len(data) % 512))
    return buffer.getvalue() + bytes(1024)


@pytest.mark.parametrize("check", ["full", "header"])
@pytest.mark.parametrize("archive", [False, True], ids=["files", "archive"])
def test_shards_are_what_the_rules_say(check: str, archive: bool, mixed: Path, zipped: Path, tmp_path: Path) -> None:
    """Composed again from the index and the source, by other means."""
    pack_here(zipped if archive else mixed, tmp_path, shard_bytes=200_000, check=check)
    members: dict[str, list[tuple[str, bytes]]] = {}
    for row in index_rows(tmp_path):
        data = (mixed / row["source"].removeprefix("all.zip:")).read_bytes()
        assert row["sha256"] == hashlib.sha256(data).hexdigest()
        names = ["generator", "split", "label", "class_index", "synset", "format", "mode", "width", "height"]
        facts = {name: row[name] for name in [*names, "jpeg_quality", "progressive", "size", "sha256"]}
        members.setdefault(row["shard"], []).extend(
            [
                (f"{row['key']}.{'jpg' if row['format'] == 'jpeg' else row['format']}", data),
                (f"{row['key']}.cls", b"1" if row["label"] == "fake" else b"0"),
                (f"{row['key']}.json", json.dumps(facts, separators=(",", ":")).encode()),
            ]
        )
    shards = tars(tmp_path)
    assert {name for name in shards if name.endswith(".tar")} == set(members)
    for name, inside in members.items():
        assert shards[name] == tar_of(inside)
        with tarfile.open(fileobj=io.BytesIO(shards[name])) as file:
            places = {one.name: (one.offset_data, one.size) for one in file}
        lines = shards[name.replace(".tar", ".idx")].decode().splitlines()
        assert lines[0] == f"v1.2 {len(inside) // 3}"
        words = [word for line in lines[1:] for word in line.split(" ")]
        found = {words[at + 3]: (int(words[at + 1]), int(words[at + 2])) for at in range(0, len(words), 4)}
        assert found == places
    assert len(quarantine_rows(tmp_path)) == (2 if check == "header" else len(bad_files()))


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def plain_png(side: int, shade: int) -> bytes:
    """A gray PNG of stored blocks: the same bytes from any version of any library."""
    raw = b"".join(b"\0" + bytes((shade + x * y) % 256 for x in range(side)) for y in range(side))
    stored = (
        b"\x78\x01\x01" + struct.pack("<HH", len(raw), len(raw) ^ 0xFFFF) + raw + struct.pack(">I", zlib.adler32(raw))
    )
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", stored) + chunk(b"IEND", b"")


def fixed_tree(root: Path) -> Path:
    """Sound images, a broken one, and a name whose key ends in a hash."""
    for number in range(12):
        label, name = (
            ("ai", f"{number:03d}_biggan_{number:05d}.png") if number % 2 else ("nature", f"n01440764_{number}.JPEG")
        )
        path = root / "BigGAN/imagenet_ai_0419_biggan" / ("val" if number > 8 else "train") / label / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(plain_png(40 + 11 * number, number))
    (path.parent / "001_biggan_00099.png").write_bytes(plain_png(60, 7)[:-900])
    (path.parent / (40 * "long" + ".png")).write_bytes(plain_png(50, 9))
    return root


@pytest.mark.parametrize("archive", [False, True], ids=["files", "archive"])
@pytest.mark.parametrize(("check", "digest"), DIGESTS)
def test_shards_are_what_they_were(check: str, digest: str, archive: bool, tmp_path: Path) -> None:
    source = fixed_tree(tmp_path / "src")
    if archive:
        (tmp_path / "zips").mkdir()
        with zipfile.ZipFile(tmp_path / "zips" / "a.zip", "w") as file:
            for path in sorted(source.rglob("*.*")):
                file.write(path, path.relative_to(source))
        source = tmp_path / "zips"
    pack_here(source, tmp_path / "dst", shard_bytes=20_000, check=check)
    found = hashlib.sha256()
    for name, data in sorted(tars(tmp_path / "dst").items()):
        found.update(name.encode() + data)
    assert found.hexdigest() == digest


@pytest.mark.parametrize("wait", [0.0, 1e9], ids=["read ahead", "read when wanted"])
def test_read_ahead_gives_the_same(wait: float) -> None:
    """Whether files have to be waited for or not, each gives its bytes or its exception, in order."""

    def read(item: int) -> bytes:
        if item % 7 == 3:
            raise OSError(str(item))
        return bytes([item])

    items = list(range(100))
    with ThreadPoolExecutor(4) as pool:
        found = list(read_ahead.read_ahead(items, read, lambda item: 1 << 10, pool, wait_seconds=wait - 1))
    assert [bytes([i]) if i % 7 != 3 else str(i) for i in items] == [
        str(one) if isinstance(one, Exception) else one for one in found
    ]


@pytest.mark.parametrize("change", [-1, 1, 5000])
def test_files_that_change_after_they_were_listed(change: int, tmp_path: Path) -> None:
    made = make_tree(tmp_path / "src", generators=("adm",), count=4)
    work = plan_work(scan([str(tmp_path / "src")]), PackOptions())
    data = made[3].data
    (tmp_path / "src" / made[3].path).write_bytes((data + bytes(5000))[: len(data) + change])
    readers = Readers(work.listing.containers)
    storage = LocalStorage(str(tmp_path / "dst"))
    (task,) = (
        t for t in (shard_task(work, n, "full") for n in range(len(work.plan.shards))) if t.split in made[3].path
    )
    with pytest.raises(SourceError, match="changing the source"):
        write_shard(task, readers, storage, nothing)
    readers.close()
    assert not list((tmp_path / "dst").rglob("*.part"))


@pytest.mark.parametrize("size", [0, 1, 4096, 3 << 20, 4 << 20, (4 << 20) + 1, 9_000_000])
def test_a_file_of_any_size(size: int, tmp_path: Path) -> None:
    """Whole buffers pass the page cache by; the end is written as usual."""
    data = os.urandom(size)
    file = LocalStorage(str(tmp_path)).create("folder/file")
    file.write([data[:100], memoryview(data)[100:]])
    file.write([b"", b"end"])
    assert not (tmp_path / "folder/file").exists()
    file.commit()
    assert (tmp_path / "folder/file").read_bytes() == data + b"end"
