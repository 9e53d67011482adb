"""The core's way of writing a shard beside the plain one: the same bytes and the same records, whatever comes."""

from __future__ import annotations

import hashlib
import mmap
import os
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genimage_stream.decode import _core
from shard_tools import buffers, core_shard, tar
from shard_tools.errors import SourceError
from shard_tools.pack import PackOptions, plan_work, shard_task
from shard_tools.scan import scan
from shard_tools.shard import Readers, ShardResult, write_plainly, write_shard
from shard_tools.storage import LocalStorage
from tests.fixtures.genimage import bad_files, encode, fake_png, make_tree, pixels, real_jpeg
from tests.shard_tools.conftest import tree_bytes

ODD_SIZES = [0, 1, 3, 54, 55, 56, 57, 63, 64, 65, 118, 119, 120, 127, 128, 129, 1000, 65_537]


@pytest.mark.parametrize("plain", [False, True])
def test_digests(plain: bool) -> None:
    rng = random.Random(1)
    for count in (0, 1, 2, 3, 8):
        for _ in range(60):
            messages = [rng.randbytes(rng.choice(ODD_SIZES)) for _ in range(count)]
            assert _core.sha256_many(messages, plain) == [hashlib.sha256(m).hexdigest() for m in messages]


def test_headers() -> None:
    for name in ("a.png", "x" * 100, "\u00e9" * 50):
        for size in (0, 1, 7, 8, 511, 8**10, 8**11 - 1):
            assert _core.tar_header(name, size) == tar.header(name, size)


@pytest.mark.parametrize(("name", "size"), [("a.png", 8**11), ("a.png", 2**63), ("x" * 101, 1)])
def test_headers_that_need_pax_are_refused(name: str, size: int) -> None:
    """The checksum would not count the twelfth digit, and the name would run over the mode."""
    with pytest.raises(ValueError, match="needs a PAX header"):
        _core.tar_header(name, size)


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


def write_both(source: Path, to: Path, check: str) -> None:
    options = PackOptions(shard_bytes=200_000, check="header" if check == "header" else "full")
    work = plan_work(scan([str(source)]), options)
    results: list[list[ShardResult]] = []
    for way in (write_plainly, write_shard):
        readers = Readers(work.listing.containers)
        storage = LocalStorage(str(to / way.__name__))
        tasks = [shard_task(work, number, options.check) for number in range(len(work.plan.shards))]
        results.append([way(task, readers, storage, nothing) for task in tasks])
        readers.close()
    assert any(map(core_shard.can_write, tasks))
    assert results[0] == results[1]
    assert tree_bytes(to / "write_plainly") == tree_bytes(to / "write_shard")


@pytest.mark.parametrize("check", ["full", "header"])
@pytest.mark.parametrize("largest", [1 << 20, 3000], ids=["buffered", "too large for the buffer"])
def test_both_ways_are_one(
    check: str, largest: int, mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buffers, "STANDARD_BYTES", 1)  # so that buffers are as small as the images allow
    monkeypatch.setattr(core_shard, "LARGEST_BYTES", largest)
    monkeypatch.setattr(core_shard, "BATCH", 7)
    write_both(mixed, tmp_path, check)


def test_both_ways_are_one_from_an_archive(mixed: Path, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    with zipfile.ZipFile(tmp_path / "src" / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(mixed.rglob("*.*")):
            archive.write(path, path.relative_to(mixed))
    write_both(tmp_path / "src", tmp_path, "full")


def test_what_was_in_a_buffer_before_does_not_matter(
    mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dirty(pool: buffers.Buffers, capacity: int) -> mmap.mmap:
        taken = take(pool, capacity)
        taken[:] = b"\xa5" * len(taken)
        return taken

    take = buffers.Buffers.take
    monkeypatch.setattr(buffers.Buffers, "take", dirty)
    write_both(mixed, tmp_path, "full")


def test_buffers_are_kept_unless_they_are_large() -> None:
    pool = buffers.Buffers()
    usual, large = pool.take(buffers.STANDARD_BYTES), pool.take(buffers.STANDARD_BYTES + mmap.PAGESIZE)
    pool.give_back(usual, large)
    assert pool.take(buffers.STANDARD_BYTES) is usual
    assert pool.take(buffers.STANDARD_BYTES) is not usual
    assert pool.take(len(large)) is not large


def test_files_on_a_cold_disk(mixed: Path, tmp_path: Path) -> None:
    """What is not in memory is asked for ahead; the bytes are the same."""
    for path in mixed.rglob("*.*"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    write_both(mixed, tmp_path, "full")
    _core.read_soon([str(mixed / "nowhere"), *map(str, mixed.rglob("*.PNG"))])


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


def test_a_file_written_directly_and_not(tmp_path: Path) -> None:
    """Whole pages from aligned memory pass the page cache by; whatever else comes is written as usual."""
    memory = mmap.mmap(-1, 3 * 4096)
    memory[:] = os.urandom(len(memory))
    pages = memoryview(memory)
    parts = [[pages], [pages[:4096]], [pages[1:4097]], [pages], [b"some", b"words"], [pages[:4096]], [b"end"]]
    file = LocalStorage(str(tmp_path)).create("folder/file")
    for part in parts:
        file.write(part)
    assert not (tmp_path / "folder/file").exists()
    file.commit()
    assert (tmp_path / "folder/file").read_bytes() == b"".join(bytes(view) for part in parts for view in part)
