"""Web servers and object stores that send nonsense, lead elsewhere, or break off: named errors, never other bytes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import genimage_stream as gs
from genimage_stream.storage.remote import RemoteStore
from tests.fixtures.shards import make_dataset
from tests.fixtures.web import Asked, Web, web_of

QUICK = {"timeout": 20.0, "retries": 1, "pause": 0.01}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("dataset"), 6)


def on_shards(trick: Callable[[Asked], None]) -> Callable[[Asked], bool]:
    def maybe(asked: Asked) -> bool:
        if asked.is_shard:
            trick(asked)
        return asked.is_shard

    return maybe


def wired(web: Web, wire: str) -> tuple[str, dict[str, Any]]:
    """Address and options: by the client for web servers without TLS, or by obstore."""
    return web.as_bucket() if wire == "s3" else (web.address, {})


def wrong_place(asked: Asked) -> None:
    asked.start, asked.end = asked.start + 512, min(asked.end + 512, len(asked.whole))
    asked.give_range(asked.whole[asked.start : asked.end])


def wrong_place_unsaid(asked: Asked) -> None:
    asked.give_range(asked.whole[asked.start : asked.end], Content_Range="bytes 0-1")


def whole_file(asked: Asked) -> None:
    asked.give(200, asked.whole)


def compressed(asked: Asked) -> None:
    asked.give_range(asked.whole[asked.start : asked.end], Content_Encoding="gzip")


def no_http(asked: Asked) -> None:
    asked.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    asked.close_connection = True


def endless_head(asked: Asked) -> None:
    asked.wfile.write(b"HTTP/1.1 206 Partial Content\r\n")
    try:
        for i in range(1 << 20):
            asked.wfile.write(b"X-%d: %s\r\n" % (i, b"y" * 1000))
    except OSError:
        pass
    asked.close_connection = True


def endless_line(asked: Asked) -> None:
    asked.wfile.write(b"HTTP/1.1 206 " + b"x" * (1 << 20))
    asked.close_connection = True


def odd_chunks(asked: Asked) -> None:
    asked.give_range(b"zzz\r\n", Content_Length=None, Transfer_Encoding="chunked")
    asked.close_connection = True


@pytest.mark.parametrize(
    ("trick", "said"),
    [
        (wrong_place, "other ranges than it is asked for"),
        (wrong_place_unsaid, "other ranges than it is asked for"),
        (whole_file, "sends only whole ones"),
        (compressed, "compresses the files"),
        (no_http, "makes no sense"),
        (endless_head, "makes no sense|connection broke"),
        (endless_line, "makes no sense|connection broke"),
        (odd_chunks, "makes no sense"),
    ],
)
def test_nonsense_is_named(root: Path, trick: Callable[[Asked], None], said: str) -> None:
    with web_of(root, on_shards(trick)) as web:
        dataset = gs.open_dataset(web.address, storage_options=QUICK)
        with pytest.raises(OSError, match=rf"{web.address}/.*\.tar: .*({said})"):
            list(gs.Loader(dataset, 8, crop=16))


def test_chunks_are_read(root: Path) -> None:
    def chunked(asked: Asked) -> None:
        body = asked.whole[asked.start : asked.end]
        parts = b"".join(
            b"%x\r\n%s\r\n" % (len(body[i : i + 777]), body[i : i + 777]) for i in range(0, len(body), 777)
        )
        asked.give_range(parts + b"0\r\n\r\n", Content_Length=None, Transfer_Encoding="chunked")

    with web_of(root, on_shards(chunked)) as web:
        assert sum(len(batch) for batch in gs.Loader(gs.open_dataset(web.address), 8, crop=16)) == 72


LINK_LOCAL = ["169.254.169.254", "169.254.1.2:8080", "[fe80::1]", "[::ffff:169.254.169.254]", "2852039166"]


@pytest.mark.parametrize("host", LINK_LOCAL)
def test_redirects_to_link_local_addresses_are_refused(root: Path, host: str) -> None:
    def elsewhere(asked: Asked) -> None:
        asked.give(302, b"", Location=f"http://{host}/latest/meta-data/iam?token=secret")

    with web_of(root, on_shards(elsewhere)) as web:
        dataset = gs.open_dataset(web.address, storage_options=QUICK)
        with pytest.raises(OSError, match=r"\.tar: redirected to .*link-local.*refused") as error:
            list(gs.Loader(dataset, 8, crop=16))
        assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("https://127.0.0.1/x", "give that address itself"),
        ("/again.tar?x", "redirected more than"),
        ("//[", "no address"),
    ],
)
def test_redirects_that_lead_nowhere(root: Path, location: str, said: str) -> None:
    with web_of(root) as web:
        store = RemoteStore(web.address, dict(QUICK))
        (root / "again.tar").write_bytes(b"x" * 1000)
        web.trick = on_shards(lambda asked: asked.give(302, b"", Location=location))
        with pytest.raises(OSError, match=said):
            store.read_range("again.tar", 0, 10)
        (root / "again.tar").unlink()


def test_a_redirect_is_followed_without_the_password(root: Path) -> None:
    with web_of(root) as target:
        with web_of(root) as web:
            web.trick = lambda asked: not asked.give(302, b"", Location=f"{target.address}{asked.path}?signed=1")
            user = web.address.replace("://", "://somebody:secret@")
            assert len(gs.open_dataset(user)) == 72
            assert all(fields["Authorization"].startswith("Basic ") for *_, fields in web.requests)
        assert target.requests
        assert not any("Authorization" in fields for *_, fields in target.requests)


@pytest.mark.parametrize("wire", ["http", "s3"])
def test_a_connection_that_breaks_in_the_middle(root: Path, wire: str) -> None:
    seen = iter(range(10**6))

    def cut(asked: Asked) -> bool:
        if not asked.is_shard or next(seen) % 5:
            return False
        body = asked.whole[asked.start : asked.end]
        asked.give_range(body[: len(body) // 2], Content_Length=len(body))
        asked.close_connection = True
        return True

    with web_of(root, cut) as web:
        address, options = wired(web, wire)
        dataset = gs.open_dataset(address, storage_options={**options, **QUICK, "retries": 9})
        assert sum(len(batch) for batch in gs.Loader(dataset, 8, crop=16)) == 72


@pytest.mark.parametrize("wire", ["http", "s3"])
def test_a_slow_link_that_all_requests_share(root: Path, wire: str) -> None:
    """A link on which all requests together take several times `timeout`: every byte passes one token bucket."""
    rate, piece = 70_000, 256  # bytes per second, at a time
    lock = threading.Lock()
    free_at = [0.0]

    def slowly(asked: Asked) -> None:
        body = asked.whole[asked.start : asked.end]
        asked.give_range(b"", Content_Length=len(body))
        for at in range(0, len(body), piece):
            with lock:
                free_at[0] = max(free_at[0], time.monotonic()) + piece / rate
                pause = free_at[0] - time.monotonic()
            time.sleep(max(0.0, pause))
            asked.wfile.write(body[at : at + piece])

    with web_of(root, on_shards(slowly)) as web:
        address, options = wired(web, wire)
        dataset = gs.open_dataset(address, storage_options={**options, "timeout": 1.0, "pause": 0.01})
        assert sum(len(batch) for batch in gs.Loader(dataset, 8, crop=16)) == 72


@pytest.mark.parametrize("wire", ["http", "s3"])
def test_slow_is_not_stalled(root: Path, wire: str) -> None:
    """An answer that takes three times `timeout` as a whole, and never stalls for long, is waited for.

    A loaded machine may make one attempt stall; every attempt takes that long."""

    def slowly(asked: Asked) -> bool:
        if not asked.is_shard:
            return False
        body = asked.whole[asked.start : asked.end]
        asked.give_range(b"", Content_Length=len(body))
        for i in range(0, len(body), len(body) // 15 + 1):
            asked.wfile.write(body[i : i + len(body) // 15 + 1])
            time.sleep(0.2)
        return True

    with web_of(root, slowly) as web:
        address, options = wired(web, wire)
        store = RemoteStore(address, {**options, "timeout": 1.0, "retries": 5})
        shard = gs.open_dataset(root).access.shards()[1][0]
        assert store.read_range(shard, 0, 3000) == (root / shard).read_bytes()[:3000]


@pytest.mark.parametrize("wire", ["http", "s3"])
def test_a_stall_names_its_option(root: Path, wire: str) -> None:
    release = threading.Event()

    def stall(asked: Asked) -> bool:
        if asked.is_shard:
            asked.give_range(b"x", Content_Length=1000)
            asked.wfile.flush()
            release.wait(60)
            asked.close_connection = True
        return asked.is_shard

    with web_of(root, stall) as web:
        address, options = wired(web, wire)
        store = RemoteStore(address, {**options, **QUICK, "timeout": 0.5, "retries": 0})
        shard = gs.open_dataset(root).access.shards()[1][0]
        with pytest.raises(
            OSError, match=r"\.tar: no byte for 0\.5 s \(`timeout` in storage_options\); gave up after 1"
        ):
            store.read_range(shard, 0, 1000)
        release.set()


def test_a_claimed_size_reserves_no_memory(root: Path) -> None:
    """HEAD says 2^50 bytes for dataset.json, which no machine could reserve."""

    def claim(asked: Asked) -> bool:
        if asked.command != "HEAD" or asked.file.name != "dataset.json":
            return False
        asked.give(200, b"", Content_Length=1 << 50, ETag=f'"{len(asked.whole)}"')
        return True

    with web_of(root) as web:
        web.trick = claim
        with pytest.raises((OSError, ValueError), match=r"dataset\.json"):
            gs.open_dataset(web.address, storage_options=QUICK)
