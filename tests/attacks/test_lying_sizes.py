"""An index that lies about the size of an image, though everything else is right: no other window, but an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from PIL import Image

import genimage_stream as gs
from genimage_stream.transforms import CenterCrop, RandomResizedCrop
from tests.fixtures.jpegs import photograph
from tests.fixtures.shards import edit_index, make_dataset
from tests.fixtures.web import web_of
from tests.shard_tools.conftest import shard_tools_here

LIED = "sd14_train_fake_00002"
SAID = "the image has {} pixels, but the index says {}: the index and the file disagree, `shard-tools verify` lists"
WAYS: list[dict[str, Any]] = [
    {"crop": 32},
    {"crop": 32, "shuffle": False, "crop_position": "center"},
    {"crop": 128},  # tiled
    {"crop": 128, "small": "resize"},
    {"transform": [CenterCrop(32)]},
    {"transform": [RandomResizedCrop(32)], "shuffle": "shards"},
    {"crop": 32, "views": "five"},
    {"crop": 32, "views": "all"},
    {"views": "whole"},
]


def lie(root: Path, key: str, column: str, by: int) -> None:
    def change(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index(column)
        told = pc.if_else(pc.equal(table["key"], key), pc.add(table[column], by), table[column])
        return table.set_column(place, table.schema.field(place), told.cast(table[column].type))

    edit_index(root, change)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_dataset(tmp_path / "dataset", 3, generators=["sd14"], splits=["train"])


@pytest.mark.parametrize("options", WAYS)
@pytest.mark.parametrize(("column", "by"), [("width", -10), ("height", 7)])
def test_on_a_disk(root: Path, options: dict[str, Any], column: str, by: int) -> None:
    options = {"batch_size": 1} | options
    sound = {key: batch.images for batch in gs.Loader(gs.open_dataset(root), **options) for key in batch.keys}
    assert len(sound) == 6
    lie(root, LIED, column, by)
    said = "96x80", "86x80" if column == "width" else "96x87"
    with pytest.raises(gs.DecodeError, match=f"sample '{LIED}' in .*tar.*{SAID.format(*said)}"):
        list(gs.Loader(gs.open_dataset(root), **options))
    loader = gs.Loader(gs.open_dataset(root), **options, on_error="skip")
    found = {key: batch.images for batch in loader for key in batch.keys}
    assert found.keys() == sound.keys() - {LIED}
    assert all(images.equal(sound[key]) for key, images in found.items())
    assert loader.stats().skipped == 1


def test_on_a_server(root: Path, tmp_path: Path) -> None:
    lie(root, LIED, "width", -10)
    with web_of(root) as web:
        for cache in ({}, {"cache_dir": tmp_path / "cache"}):
            dataset = gs.open_dataset(web.address, **cache)  # type: ignore[arg-type]
            with pytest.raises(gs.DecodeError, match=f"sample '{LIED}' in {web.address}.*but the index says 86x80"):
                list(gs.Loader(dataset, 4, crop=32))


def test_crop_ready_shards_that_are_read_in_parts(tmp_path: Path) -> None:
    folder = tmp_path / "source" / "sd14" / "train" / "ai"
    folder.mkdir(parents=True)
    Image.fromarray(photograph(420, 700, 1)).save(folder / "1.png", compress_level=1)
    Image.fromarray(photograph(420, 700, 2)).save(folder / "2.jpg", quality=96)
    root = tmp_path / "dataset"
    assert shard_tools_here("pack", tmp_path / "source", root, "--crop-ready").code == 0
    with web_of(root) as web:
        for key in ("sd14_train_fake_1", "sd14_train_fake_2"):
            for by in (-1, 1):
                lie(root, key, "height", by)
                for address in (str(root), web.address):
                    with pytest.raises(gs.DecodeError, match=f"sample '{key}'.*420x700 pixels, but the index says"):
                        list(gs.Loader(gs.open_dataset(address), 2, crop=64))
                done = shard_tools_here("verify", root)
                assert done.code == 1
                assert key in done.out + done.err
                lie(root, key, "height", -by)
        assert len(list(gs.Loader(gs.open_dataset(web.address), 2, crop=64))) == 1


def test_one_sample_at_a_time(root: Path) -> None:
    lie(root, LIED, "height", 1)
    with pytest.raises(gs.DecodeError, match=f"sample '{LIED}': {SAID.format('96x80', '96x81')}"):
        _ = gs.open_dataset(root)[LIED].image


def test_a_damaged_image_of_one_sample_is_named(root: Path) -> None:
    dataset = gs.open_dataset(root)
    facts = dataset[LIED].facts
    shard = root / facts["shard"]
    data = bytearray(shard.read_bytes())
    data[facts["offset"] + facts["size"] // 2] ^= 255
    shard.write_bytes(data)
    with pytest.raises(gs.DecodeError, match=f"sample '{LIED}'"):
        _ = dataset[LIED].image


def test_a_size_of_more_windows_than_memory(root: Path) -> None:
    lie(root, LIED, "width", 1 << 29)
    lie(root, LIED, "height", 1 << 29)
    with pytest.raises(gs.DecodeError, match=f"sample '{LIED}'.* has [0-9,]* windows, and 1,048,576 are possible"):
        list(gs.Loader(gs.open_dataset(root), 1, crop=16, views="all"))
