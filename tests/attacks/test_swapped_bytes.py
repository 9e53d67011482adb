"""Bytes of a shard that are not those that were packed, and decode all the same: `verify_bytes` notices each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import genimage_stream as gs
from tests.fixtures.shards import make_dataset
from tests.fixtures.web import Asked, web_of


def keys_and_pixels(loader: gs.Loader) -> list[tuple[list[str], bytes]]:
    return [(batch.keys, batch.images.numpy().tobytes()) for batch in loader]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_dataset(tmp_path / "dataset", 6)


def swap_two(root: Path) -> str:
    """Exchange the bytes of two images of one size, as a copy that mixes blocks up would; the path of their shard."""
    dataset = gs.open_dataset(root)
    table = dataset.table(["shard", "offset", "size", "sha256"]).to_pylist()
    for i, one in enumerate(table):
        for other in table[i + 1 :]:
            if one["shard"] == other["shard"] and one["size"] == other["size"] and one["sha256"] != other["sha256"]:
                shard = root / one["shard"]
                data = bytearray(shard.read_bytes())
                a, b = (slice(row["offset"], row["offset"] + row["size"]) for row in (one, other))
                data[a], data[b] = data[b], data[a]
                shard.write_bytes(data)
                return str(one["shard"])
    first = table[0]  # none of one size: one byte of a comment or of pixels
    shard = root / first["shard"]
    data = bytearray(shard.read_bytes())
    data[first["offset"] + first["size"] - 3] ^= 1
    shard.write_bytes(data)
    return str(first["shard"])


@pytest.mark.parametrize("shuffle", [True, "shards", False])
def test_sound_bytes_give_the_same_batches(root: Path, tmp_path: Path, shuffle: Any) -> None:
    options: dict[str, Any] = {"crop": 16, "seed": 3, "shuffle": shuffle}
    expected = keys_and_pixels(gs.Loader(gs.open_dataset(root), 8, **options))
    assert keys_and_pixels(gs.Loader(gs.open_dataset(root), 8, verify_bytes=True, **options)) == expected
    with web_of(root) as web:
        for cache in ({}, {"cache_dir": tmp_path / "cache"}):
            dataset = gs.open_dataset(web.address, **cache)  # type: ignore[arg-type]
            assert keys_and_pixels(gs.Loader(dataset, 8, verify_bytes=True, **options)) == expected


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_other_bytes_on_a_disk(root: Path, on_error: Any) -> None:
    shard = swap_two(root)
    with pytest.raises(OSError, match=rf"the image at byte \d+ of {shard} is not the one that was packed"):
        list(gs.Loader(gs.open_dataset(root), 8, crop=16, verify_bytes=True, on_error=on_error))


def test_other_bytes_from_a_server(root: Path) -> None:
    def flip(asked: Asked) -> bool:
        if not asked.is_shard:
            return False
        body = bytearray(asked.whole[asked.start : asked.end])
        body[len(body) // 2] ^= 4
        asked.give_range(bytes(body))
        return True

    with web_of(root, flip) as web, pytest.raises(OSError, match="is not the one that was packed"):
        list(gs.Loader(gs.open_dataset(web.address), 8, crop=16, verify_bytes=True))


def test_an_index_without_the_hash_of_an_image(root: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from genimage_stream import schema

    path = root / schema.INDEX_FILE
    table = pq.read_table(path)
    hashes = table["sha256"].to_pylist()
    hashes[5] = "no hash"
    at = table.column_names.index("sha256")
    pq.write_table(table.set_column(at, "sha256", pa.array(hashes, pa.string())), path)
    (root / ".index.arrow").unlink(missing_ok=True)
    with pytest.raises((OSError, ValueError)):
        list(gs.Loader(gs.open_dataset(root), 8, crop=16, verify_bytes=True))


def test_a_damaged_copy_in_a_cache(root: Path, tmp_path: Path) -> None:
    """It is named, with the way to be rid of it, which `shard-tools verify` of the sound dataset is not."""
    with web_of(root) as web:

        def batches() -> list[Any]:
            dataset = gs.open_dataset(web.address, cache_dir=tmp_path / "cache")
            return keys_and_pixels(gs.Loader(dataset, 8, crop=16, shuffle=False, verify_bytes=True))

        batches()
        for copy in (tmp_path / "cache").rglob("*.tar"):
            data = bytearray(copy.read_bytes())
            data[512 + 40] ^= 1  # of the first image
            copy.write_bytes(data)
        with pytest.raises(OSError, match="cache clear"):
            batches()
        (tmp_path / "file").touch()
        with pytest.raises(NotADirectoryError, match="is not a folder"):
            list(gs.Loader(gs.open_dataset(web.address, cache_dir=tmp_path / "file"), 8, crop=16))
