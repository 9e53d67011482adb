"""Shards that are not those which the index describes, though as long: the tar header before each sample tells."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import genimage_stream as gs
from genimage_stream.dataset import columns
from genimage_stream.storage import tar_headers
from genimage_stream.transforms import CenterCrop
from tests.fixtures.jpegs import photograph
from tests.fixtures.shards import Sample, edit_index, picture, write_dataset
from tests.fixtures.web import web_of
from tests.shard_tools.conftest import shard_tools_here

SAID = r"-0000[01]\.tar holds '?sd14_train_.*instead(?s:.*)not the shard that the index describes, so copy both"


def stored_png(number: int, side: int = 40) -> bytes:
    """As many bytes for each number."""
    to = io.BytesIO()
    Image.fromarray(picture(number, side, side)).save(to, "PNG", compress_level=0)
    return to.getvalue()


def swap(root: Path, a: str = "00000", b: str = "00001") -> None:
    first, second = (root / "sd14" / "train" / f"sd14-train-{number}.tar" for number in (a, b))
    first.rename(root / "aside")
    second.rename(first)
    (root / "aside").rename(second)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two shards of one length, whose images have one size and are swapped."""
    samples = [
        Sample(
            "sd14",
            "train",
            label,
            f"sd14_train_{label}_{i:02d}",
            stored_png(2 * i + (label == "fake")),
            "png",
            (40, 40),
        )
        for i in range(10)
        for label in ("real", "fake")
    ]
    write_dataset(tmp_path / "dataset", samples)
    shards = sorted((tmp_path / "dataset").rglob("*.tar"))
    assert len({shard.stat().st_size for shard in shards}) == 1
    swap(tmp_path / "dataset")
    return tmp_path / "dataset"


@pytest.mark.parametrize("on_error", ["raise", "skip"])
@pytest.mark.parametrize("shuffle", [True, "shards", False])
def test_on_a_disk(root: Path, shuffle: Any, on_error: Any) -> None:
    options: dict[str, Any] = {"crop": 16, "shuffle": shuffle, "on_error": on_error}
    with pytest.raises(OSError, match=rf"sample 'sd14_train_.*{SAID}"):
        list(gs.Loader(gs.open_dataset(root), 4, **options))
    with pytest.raises(OSError, match=SAID):
        list(gs.Loader(gs.open_dataset(root), 4, transform=[CenterCrop(16)], shuffle=shuffle, on_error=on_error))


@pytest.mark.parametrize("wire", ["http", "s3"])
def test_on_a_server(root: Path, tmp_path: Path, wire: str) -> None:
    with web_of(root) as web:
        address, options = web.as_bucket() if wire == "s3" else (web.address, {})
        for cache in ({}, {"cache_dir": tmp_path / "cache"}):
            dataset = gs.open_dataset(address, storage_options=options, **cache)  # type: ignore[arg-type]
            with pytest.raises(OSError, match=rf"{address}/sd14/train/sd14-train{SAID}"):
                list(gs.Loader(dataset, 4, crop=16))
            with pytest.raises(OSError, match=SAID):
                dataset[0]


def test_one_sample_at_a_time(root: Path) -> None:
    dataset = gs.open_dataset(root)
    for look in (lambda: dataset[3], lambda: dataset.as_map_style()[3]):
        with pytest.raises(OSError, match=SAID):
            look()


def test_crop_ready_shards_that_are_read_in_parts(tmp_path: Path) -> None:
    folder = tmp_path / "source" / "sd14" / "train" / "ai"
    folder.mkdir(parents=True)
    for i in range(4):
        Image.fromarray(photograph(420, 700, i)).save(folder / f"{i}.png", compress_level=1)
    root = tmp_path / "dataset"
    assert shard_tools_here("pack", tmp_path / "source", root, "--crop-ready", "--shard-size", "700KB").code == 0
    assert "segments" in gs.open_dataset(root).access.columns.names
    with web_of(root) as web:
        before = [batch.images.numpy() for batch in gs.Loader(gs.open_dataset(root), 4, crop=64)]
        there = [batch.images.numpy() for batch in gs.Loader(gs.open_dataset(web.address), 4, crop=64)]
        assert np.array_equal(np.concatenate(before), np.concatenate(there))
        swap(root)
        for address in (str(root), web.address):
            with pytest.raises(OSError, match=SAID):
                list(gs.Loader(gs.open_dataset(address), 4, crop=64))


@pytest.mark.parametrize("at", [0, 100, 511])
def test_an_offset_without_room_for_a_header(root: Path, at: int) -> None:
    import pyarrow as pa

    edit_index(
        root,
        lambda table: table.set_column(
            table.column_names.index("offset"), "offset", pa.array([at] * len(table), pa.int64())
        ),
    )
    with pytest.raises(OSError, match="no room for a tar header"):
        list(gs.Loader(gs.open_dataset(root), 4, crop=16))
    with web_of(root) as web, pytest.raises(OSError, match="not the shard that the index"):
        list(gs.Loader(gs.open_dataset(web.address), 4, crop=16))


def test_the_keys_of_a_large_index_are_waited_for_by_nobody(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "KEYS_AT_ONCE", 5)
    index = gs.open_dataset(root).access.columns
    rows = np.array([3, 1])
    names = index.member_names(rows)
    while names == [b"", b""]:
        names = index.member_names(rows)
    assert names == [f"{key}.".encode() for key in index.keys(rows)]


def tar_header() -> bytearray:
    sound = bytearray(512)
    sound[:7] = b"key.png"
    sound[257:262] = b"ustar"
    return sound


def test_both_checks_agree(tmp_path: Path) -> None:
    """That of the C++ core, for local files, and that for stores; sizes may have spaces, long names are cut."""
    data = stored_png(1)
    size = len(data)
    fields = [b"%011o\0" % size, b"%011o " % size, b"%6o     \0" % size, b"  %o\0\0\0\0\0" % size]
    wrong = [b"%011o\0" % (size + 1), b"-%010o\0" % size, bytes(12), b" " * 12, b"%o x     " % size, b"9%010o\0" % size]
    names = [b"key.", b"", b"ke.", b"key.png", b"key.pngs", b"k" * 150 + b"."]
    headers = []
    for field in [*fields, *wrong]:
        headers.append(tar_header())
        headers[-1][124:136] = field.ljust(12, b"\0")[:12]
    chance = random.Random(3)
    for _ in range(60):
        headers.append(headers[0].copy())
        for _ in range(chance.choice([1, 1, 2, 40])):
            headers[-1][chance.choice([chance.randrange(512), chance.randrange(8), 257 + chance.randrange(5)])] ^= 1
    headers.append(headers[0].copy())
    headers[-1][:100] = b"k" * 100
    (tmp_path / "a.tar").write_bytes(b"".join(bytes(header) + data for header in headers))
    n = len(headers)
    offsets = 512 + np.arange(n) * (512 + size)
    files = gs.FileSet([tmp_path / "a.tar"])
    agreed = 0
    for name in names:
        ranges = gs.FileRanges(files, np.zeros(n, np.int32), offsets, np.full(n, size), [name] * n)
        errors = gs.decode_batch(ranges, np.zeros((n, 3, 16, 16), np.uint8), crops=np.zeros((n, 2), np.int32))
        assert {error.kind for error in errors} <= {"io"}
        refused = {error.index for error in errors}
        assert refused == {
            i for i, header in enumerate(headers) if not tar_headers.describes(bytes(header), name, size)
        }
        agreed += n - len(refused)
        if name == b"key.":
            assert refused & set(range(10)) == {4, 5, 6, 7, 8, 9}
    assert agreed > 20
    few = gs.FileRanges(files, np.zeros(n, np.int32), offsets, np.full(n, size), [b"key."])
    with pytest.raises(ValueError, match="names"):
        gs.decode_batch(few, np.zeros((n, 3, 16, 16), np.uint8), crops=np.zeros((n, 2), np.int32))
