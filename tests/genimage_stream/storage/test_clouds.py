"""gs:// and az:// by emulators of the two services: the same batches as from a folder, and named errors.

What goes wrong on the way, and the cache, are the same code for every store: see test_remote.py and test_cache.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import genimage_stream as gs
from tests.fixtures.azure import azure_server
from tests.fixtures.gcs import gcs_server
from tests.fixtures.shards import make_dataset
from tests.fixtures.stores import StoreServer

SERVERS = {"gs": gcs_server, "az": azure_server}


@pytest.fixture(scope="module", params=list(SERVERS))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    with SERVERS[request.param](tmp_path_factory.mktemp(request.param)) as running:
        yield running


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("dataset"), 6)


def batches(dataset: gs.Dataset, **options: Any) -> list[tuple[list[str], bytes]]:
    loader = gs.Loader(dataset, 8, crop=16, seed=1, **options)
    return [(batch.keys, batch.images.numpy().tobytes()) for batch in loader]


@pytest.mark.parametrize("shuffle", [True, "shards", False])
def test_a_store_gives_what_the_folder_gives(server: StoreServer, root: Path, tmp_path: Path, shuffle: Any) -> None:
    address = server.upload(root, "plain")
    local = gs.open_dataset(root)
    dataset = gs.open_dataset(address, storage_options=server.options)
    assert dataset.access.digest() == local.access.digest()
    expected = batches(local, shuffle=shuffle)
    assert batches(dataset, shuffle=shuffle) == expected
    cached = gs.open_dataset(address, storage_options=server.options, cache_dir=tmp_path)
    assert batches(cached, shuffle=shuffle) == expected


def test_a_shard_gone_or_cut_is_named(server: StoreServer, root: Path, tmp_path: Path) -> None:
    shards = gs.open_dataset(root).access.shards()[1]
    server.upload(root, "damaged")
    server.put(f"damaged/{shards[1]}", (root / shards[1]).read_bytes()[:1500])
    copied = make_dataset(tmp_path, 6)
    (copied / shards[2]).unlink()
    server.upload(copied, "gone")
    damaged = gs.open_dataset(f"{server.url}/damaged", storage_options=server.options)
    with pytest.raises(OSError, match=rf"{server.url}/damaged/{shards[1]}.*truncated"):
        batches(damaged)
    gone = gs.open_dataset(f"{server.url}/gone", storage_options=server.options)
    with pytest.raises(FileNotFoundError, match=rf"{server.url}/gone/{shards[2]} does not exist"):
        batches(gone)
    with pytest.raises(FileNotFoundError, match="shard-tools pack"):
        gs.open_dataset(f"{server.url}/nothing", storage_options=server.options)
