"""Large crop-ready PNGs in object stores: only the bands of a crop are fetched, and pixels are those of the folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import genimage_stream as gs
from genimage_stream import transforms as T  # noqa: N812
from genimage_stream.storage.segments import WORTH_BYTES
from tests.fixtures.jpegs import jpeg
from tests.fixtures.s3 import S3Server
from tests.fixtures.shards import edit_index
from tests.genimage_stream.decode.test_partial_reads import photo
from tests.genimage_stream.storage.test_remote import QUICK, web_server
from tests.shard_tools.conftest import pack_here, shard_tools_here

CROP = 64


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packed crop-ready: PNGs of 160 to 800 KiB, small ones, JPEGs."""
    tree = tmp_path_factory.mktemp("tree")
    fakes, reals = (tree / "Midjourney" / "train" / name for name in ("ai", "nature"))
    for folder in (fakes, reals):
        folder.mkdir(parents=True)
    for i, (width, height) in enumerate([(500, 900), (420, 640), (800, 700), (300, 300), (90, 80)] * 2):
        (fakes / f"{i}_midjourney_{i}.png").write_bytes(photo(width, height, seed=i)[0])
        (reals / f"n01440764_{i}.JPEG").write_bytes(jpeg(300 + i, 240, seed=i))
    packed = tree.parent / "packed"
    pack_here(tree, packed, shard_bytes=2_000_000, crop_ready=True)
    return packed


def batches(dataset: gs.Dataset, **options: Any) -> list[tuple[list[str], bytes]]:
    loader = gs.Loader(dataset, 4, crop=CROP, flip=True, seed=3, **options)
    return [(batch.keys, batch.images.numpy().tobytes()) for _ in range(3) for batch in loader]


def entries(root: Path) -> list[list[int] | None]:
    found: list[list[int] | None] = gs.open_dataset(root).access.columns.table(["segments"])["segments"].to_pylist()
    return found


def test_the_index_tells_of_large_pngs_alone(root: Path) -> None:
    table = gs.open_dataset(root).access.columns.table(["segments", "size", "format", "height"]).to_pylist()
    large = [row["segments"] for row in table if row["segments"] is not None]
    assert len(large) >= 4
    for row in table:
        assert (row["segments"] is not None) == (row["format"] == "png" and row["size"] >= WORTH_BYTES)
        if row["segments"] is not None:
            rows, *positions = row["segments"]
            assert len(positions) == -(-row["height"] // rows) + 1
            assert positions == sorted(positions)
            assert positions[-1] + 12 == row["size"], "the end chunk follows"


@pytest.mark.parametrize("backend", ["cpu", "dali"])
def test_s3_gives_what_the_folder_gives(s3: S3Server, root: Path, tmp_path: Path, backend: Any) -> None:
    if backend == "dali":
        pytest.importorskip("nvidia.dali", reason="needs DALI")
    address = s3.upload(root, f"segments-{backend}")
    expected = batches(gs.open_dataset(root))
    assert batches(gs.open_dataset(address, storage_options=s3.options), backend=backend) == expected
    cached = gs.open_dataset(address, storage_options=s3.options, cache_dir=tmp_path)
    assert batches(cached, backend=backend) == expected


def test_less_is_fetched(root: Path) -> None:
    local = gs.open_dataset(root)
    large = np.flatnonzero([entry is not None for entry in entries(root)])
    stored = int(local.access.columns.numbers("size")[0][large].sum())
    condition = pa.compute.field("segments").is_valid()
    with web_server(root) as (address, behaviour):
        dataset = gs.open_dataset(address, storage_options=QUICK).select(where=condition)
        loader = gs.Loader(dataset, 4, crop=CROP)
        rows = [row for batch in loader for row in batch.rows.tolist()]
        assert sorted(dataset.index_rows[rows]) == large.tolist()
        assert behaviour.sent < 0.6 * stored


def test_a_transform_fetches_what_it_needs(root: Path) -> None:
    """Blur and JPEG before the crop: a margin around it, from the same bands as a folder gives."""
    steps = [T.RandomApply(T.JPEG((50, 90))), T.GaussianBlur((0.0, 2.0)), T.RandomCrop(CROP), T.RandomHorizontalFlip()]
    local = gs.open_dataset(root).select(where=pa.compute.field("segments").is_valid())
    stored = sum(local.table(["size"])["size"].to_pylist())
    options: dict[str, Any] = {"transform": steps, "seed": 3}
    here = gs.Loader(local, 4, **options)
    for batch in here:
        rows = local.table(["shard", "offset", "size", "sha256"]).take(batch.rows.numpy()).to_pylist()
        for row, image in zip(rows, batch.images, strict=True):
            data = (root / row["shard"]).read_bytes()[row["offset"] : row["offset"] + row["size"]]
            whole = T.apply(data, steps, seed=3, sha256=row["sha256"])
            assert np.array_equal(image.numpy().transpose(1, 2, 0), whole)
    with web_server(root) as (address, behaviour):
        remote = gs.open_dataset(address, storage_options=QUICK).select(where=pa.compute.field("segments").is_valid())
        here.set_epoch(0)
        there = gs.Loader(remote, 4, **options)
        for a, b in zip(here, there, strict=True):
            assert a.keys == b.keys
            assert a.images.equal(b.images)
        assert behaviour.sent < 0.7 * stored


WRONG: dict[str, Callable[[list[int]], list[int] | None]] = {
    "shifted": lambda entry: [entry[0], *(at + 5 for at in entry[1:])],
    "other bands": lambda entry: [entry[0] * 2, *entry[1:]],
    "beyond the file": lambda entry: [entry[0], entry[1], *(at * 1000 for at in entry[2:])],
    "negative": lambda entry: [entry[0], *(-at for at in entry[1:])],
    "no rows": lambda entry: [0, *entry[1:]],
    "too short": lambda entry: entry[:4],
    "empty": lambda _: [],
    "null": lambda _: None,
    "head too short": lambda entry: [entry[0], 40, *entry[2:]],
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_entries_cost_a_request_and_no_pixel(root: Path, tmp_path: Path, kind: str) -> None:
    wrong = tmp_path / "wrong"
    shutil.copytree(root, wrong)

    def change(table: pa.Table) -> pa.Table:
        made = [entry if entry is None else WRONG[kind](entry) for entry in table["segments"].to_pylist()]
        at = table.schema.get_field_index("segments")
        return table.set_column(at, table.schema.field(at), pa.array(made, pa.list_(pa.int32())))

    edit_index(wrong, change)
    with web_server(wrong) as (address, _):
        assert batches(gs.open_dataset(address, storage_options=QUICK)) == batches(gs.open_dataset(root))
    assert shard_tools_here("verify", wrong).code == 1


def test_an_index_without_entries(root: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(root, old)
    edit_index(old, lambda table: table.drop_columns(["segments"]))
    with web_server(old) as (address, _):
        assert batches(gs.open_dataset(address, storage_options=QUICK)) == batches(gs.open_dataset(root))
    assert shard_tools_here("verify", old).code == 1


def test_a_server_that_fails_while_the_rest_is_fetched(root: Path, tmp_path: Path) -> None:
    """The parts come, are not what the table says, and then the server is down: an error that names the sample."""
    damaged = tmp_path / "damaged"
    shutil.copytree(root, damaged)
    dataset = gs.open_dataset(damaged)
    row = int(np.flatnonzero([entry is not None for entry in entries(root)])[0])
    codes, shards = dataset.access.shards()
    offset = int(dataset.access.columns.numbers("offset")[0][row])
    path = damaged / shards[codes[row]]
    data = bytearray(path.read_bytes())
    data[offset + 60] ^= 1  # in the table
    path.write_bytes(data)
    with web_server(damaged) as (address, behaviour):
        key = dataset.access.columns.keys(np.array([row]))[0]
        remote = gs.open_dataset(address, storage_options={**QUICK, "retries": 1})
        one = gs.Dataset(remote.access.with_rows(np.array([row])))
        behaviour.kind, behaviour.spared, behaviour.left = "error", 2, -1
        with pytest.raises(OSError, match=rf"{key}.*gave up after 2 attempts"):
            list(gs.Loader(one, 1, crop=CROP))
