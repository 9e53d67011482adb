"""Shards from the caches of other nodes: the same bytes, whether peers tell the truth, lie, stall or are not there."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

import genimage_stream as gs
from genimage_stream.storage.cached import CachedReader
from genimage_stream.storage.peer_server import PeerServer
from tests.fixtures.shards import make_dataset
from tests.fixtures.web import Asked, Web, web_of


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("dataset"), 6, per_shard=6)


def slow(asked: Asked) -> bool:
    """A store that takes its time for the first shards, which is what a peer then has."""
    if asked.is_shard and asked.command == "GET" and gets(asked.web) <= 2:
        time.sleep(1.5)
    return False


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    with PeerServer(folder, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def warm(address: str, folder: Path, **options: Any) -> dict[str, bytes]:
    """What is in the cache after all shards were brought into it."""
    dataset = gs.open_dataset(address, cache_dir=folder, **options)
    reader = dataset.access.reader()
    assert isinstance(reader, CachedReader)
    assert reader.warm(range(len(dataset.access.shards()[1])), lambda _: None)
    return {path.name: path.read_bytes() for path in folder.rglob("*.tar")}


def gets(web: Web) -> int:
    return sum(path.endswith(".tar") and method == "GET" for method, path, _, _ in web.requests)


def originals(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.rglob("*.tar")}


def test_shards_come_from_a_peer(root: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with web_of(root) as web, serving(tmp_path / "a") as peer:
        assert warm(web.address, tmp_path / "a") == originals(root)
        web.trick = slow
        web.requests.clear()
        assert warm(web.address, tmp_path / "b", peers=["http://127.0.0.1:1", peer]) == originals(root)
        assert gets(web) < len(originals(root))


def test_a_peer_that_lies(root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a").mkdir()
    with web_of(root) as web, serving(tmp_path / "a") as peer:
        warm(web.address, tmp_path / "a")
        for path in (tmp_path / "a").rglob("*.tar"):
            data = bytearray(path.read_bytes())
            data[600] ^= 1  # of the first image
            path.write_bytes(data)
        web.trick = slow
        web.requests.clear()
        assert warm(web.address, tmp_path / "b", peers=[peer]) == originals(root)
        assert "is no longer asked" in caplog.text


def test_a_peer_that_stalls(root: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf, web_of(root) as web:  # connects, and never answers
        peer = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        assert warm(web.address, tmp_path, peers=[peer]) == originals(root)
        assert gets(web) == len(originals(root))


def ask(address: str, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes]:
    connection = HTTPConnection(address.removeprefix("http://"), timeout=60)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def test_nothing_but_complete_shards_is_served(tmp_path: Path) -> None:
    own, outside = tmp_path / "cache" / ("0" * 24), tmp_path / "outside"
    for folder in (own / "adm", outside):
        folder.mkdir(parents=True)
        (folder / "a.tar").write_bytes(b"0123456789")
    for name in ("b.tar.part", "name", ".c.tar"):
        (own / "adm" / name).write_bytes(b"secret")
    (tmp_path / "cache" / "lock").touch()
    (tmp_path / "cache" / "other").mkdir()
    (tmp_path / "cache" / "other" / "a.tar").write_bytes(b"not the cache's")
    os.symlink(outside / "a.tar", own / "adm" / "link.tar")
    os.symlink(outside, own / "linked")
    (own / "folder.tar").mkdir()
    with serving(tmp_path / "cache") as peer:
        good = f"/{own.name}/adm/a.tar"
        assert ask(peer, good) == (200, b"0123456789")
        assert ask(peer, good, Range="bytes=2-4") == (206, b"234")
        assert ask(peer, good, Range="bytes=8-100") == (206, b"89")
        assert ask(peer, good, Range="bytes=10-20")[0] == 416
        assert ask(peer, good, Range="bytes=-5")[0] == 416
        assert ask(peer, good, "HEAD") == (200, b"")
        for method in ("PUT", "POST", "DELETE"):
            assert ask(peer, good, method)[0] == 501
        bad = ["adm/link.tar", "linked/a.tar", "adm/b.tar.part", "adm/name", "adm/.c.tar", "folder.tar", "adm/none.tar"]
        bad += ["../../outside/a.tar", "%2e%2e/%2e%2e/outside/a.tar", "adm/../adm/a.tar", "adm//a.tar", "adm/a.tar%00"]
        paths = [f"/{own.name}/{path}" for path in bad]
        paths += ["/", "/lock", "/other/a.tar", f"/{own.name}", "/etc/passwd", f"//{tmp_path}/outside/a.tar"]
        assert [ask(peer, path)[0] for path in paths] == [404] * len(paths)


def test_peers_that_are_none(root: Path, tmp_path: Path) -> None:
    with web_of(root) as web:
        for peers in (
            ["node-3:8123"],
            ["https://node-3"],
            ["http://169.254.169.254"],
            ["http://"],
            [3],
            ["http://a:x"],
        ):
            with pytest.raises(ValueError, match="no address of a peer"):
                gs.open_dataset(web.address, cache_dir=tmp_path, peers=peers)
        with pytest.raises(TypeError, match="a list of addresses"):
            gs.open_dataset(web.address, cache_dir=tmp_path, peers="http://node-3:8123")
        with pytest.raises(ValueError, match="peers= needs cache_dir="):
            gs.open_dataset(web.address, peers=["http://node-3:8123"])
