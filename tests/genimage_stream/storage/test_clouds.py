"""gs:// and az:// by emulators of the two services: the same batches as from a folder, and named errors.

What goes wrong on the way, and the cache, are the same code for every store: see test_remote.py and test_cache.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
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


@contextmanager
def answering(status: int | None) -> Iterator[str]:
    """The address of a proxy that answers everything with `status`; None: of a port where nothing listens."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status or 500)
            self.send_header("content-length", "0")
            self.end_headers()

        def do_PUT(self) -> None:
            self.do_GET()

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        address = f"http://127.0.0.1:{server.server_port}"
        if status is None:
            server.server_close()
            yield address
            return
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield address
        server.shutdown()
        thread.join()


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


_NONE = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SKIP_SIGNATURE", "AWS_PROFILE", "AWS_DEFAULT_PROFILE")


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials anywhere."""
    for name in (*_NONE, "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SKIP_SIGNATURE", "AZURE_STORAGE_ACCOUNT_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize("status", [403, 404, None])  # the proxy refuses, there is no role, nothing listens
@pytest.mark.parametrize(
    ("address", "wanted"), [("s3://bucket/shards", "AWS_ACCESS_KEY_ID"), ("gs://b/shards", "GOOGLE_APPLICATION")]
)
@pytest.mark.usefixtures("bare")
def test_no_credentials(address: str, wanted: str, status: int | None) -> None:
    """Clients then ask the address where cloud machines have theirs: its answers are not the store's."""
    with answering(status) as proxy:
        options = {"client_options": {"proxy_url": proxy}, "retries": 0}
        with pytest.raises(OSError, match=f"{address}/dataset.json: no credentials found: set {wanted}") as caught:
            gs.open_dataset(address, storage_options=options)
    assert not isinstance(caught.value, FileNotFoundError)  # which would say that there is no dataset


@pytest.mark.parametrize(
    ("address", "options"),
    [
        ("s3://bucket/shards", {"aws_access_key_id": "a"}),
        ("s3://bucket/shards", {"aws_secret_access_key": "a"}),
        ("az://container/shards", {}),
    ],
)
@pytest.mark.usefixtures("bare")
def test_a_part_of_the_credentials(address: str, options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=f"{address}: a part of the credentials is missing: set A"):
        gs.open_dataset(address, storage_options=options)
