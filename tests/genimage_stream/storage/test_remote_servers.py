"""Object stores where they cannot serve: in forked processes, and web servers without ranges. Errors at once."""

from __future__ import annotations

import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import DataLoader

import genimage_stream as gs
from tests.fixtures.shards import make_dataset
from tests.genimage_stream.storage.test_remote import web_server

PATIENT = {"timeout": 300.0, "retries": 9}  # waiting it out would fail the suite


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("dataset"), 6)


@pytest.mark.parametrize("options", [{}, {"cache": True, "shuffle": "shards"}])
def test_forked_workers_are_an_error(root: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    """obstore's threads stay with the parent: a forked worker once waited for them, and then blamed the server."""
    cache = {"cache_dir": tmp_path} if options.pop("cache", False) else {}
    with web_server(root) as (address, _):
        dataset = gs.open_dataset(address, storage_options=PATIENT, **cache)
        stream = gs.Loader(dataset, 8, crop=16, **options).as_iterable_dataset()
        with pytest.raises(RuntimeError, match=r"does not survive a fork.*multiprocessing_context"):
            list(DataLoader(stream, batch_size=None, num_workers=2, multiprocessing_context="fork"))


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_spawned_workers_give_the_same_batches(root: Path, method: str) -> None:
    with web_server(root) as (address, _):
        loader = gs.Loader(gs.open_dataset(address), 8, crop=16)
        expected = [batch.keys for batch in loader]
        loader.set_epoch(0)
        around = DataLoader(
            loader.as_iterable_dataset(), batch_size=None, num_workers=1, multiprocessing_context=method
        )
        assert [batch.keys for batch in around] == expected


def test_a_server_without_ranges(root: Path) -> None:
    """As `python -m http.server`."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with pytest.raises(OSError, match=r"dataset\.json: .*answers range requests \(nginx"):
            gs.open_dataset(f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
