"""Object stores and web servers: the same batches as from a folder, and every way in which they fail."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import genimage_stream as gs
from genimage_stream import schema
from genimage_stream.dataset.columns import IndexColumns
from genimage_stream.storage.local import LocalStore
from genimage_stream.storage.ranges import CHUNK_BYTES, GAP_BYTES, coalesce
from tests.fixtures.s3 import S3Server, free_port
from tests.fixtures.shards import make_dataset

CROP = 16
#: Errors are tried again soon; a server that is well may take its time on a busy machine.
QUICK = {"timeout": 20.0, "retries": 2, "pause": 0.01}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("dataset"), 6)


def batches(dataset: gs.Dataset, **options: Any) -> list[tuple[list[str], bytes]]:
    loader = gs.Loader(dataset, 8, crop=CROP, seed=1, **options)
    return [(batch.keys, batch.images.numpy().tobytes()) for batch in loader]


@pytest.mark.parametrize("shuffle", [True, "shards", False])
def test_s3_gives_what_the_folder_gives(s3: S3Server, root: Path, shuffle: Any) -> None:
    dataset = gs.open_dataset(s3.upload(root, "plain"), storage_options=s3.options)
    local = gs.open_dataset(root)
    assert dataset.table() == local.table()
    assert dataset.access.digest() == local.access.digest()
    assert batches(dataset, shuffle=shuffle) == batches(local, shuffle=shuffle)
    loader = gs.Loader(dataset.select(splits=["val"]), 8, crop=CROP)
    list(loader)
    assert loader.stats().bytes == sum(dataset.select(splits=["val"]).table(["size"])["size"].to_pylist())


def test_a_state_goes_from_folder_to_store(s3: S3Server, root: Path) -> None:
    local = gs.Loader(gs.open_dataset(root), 8, crop=CROP)
    expected = [batch.keys for batch in gs.Loader(gs.open_dataset(root), 8, crop=CROP)]
    running = iter(local)
    for _ in range(3):
        next(running)
    remote = gs.Loader(gs.open_dataset(s3.upload(root, "state"), storage_options=s3.options), 8, crop=CROP)
    remote.load_state_dict(local.state_dict())
    assert [batch.keys for batch in remote] == expected[3:]


def test_s3_with_a_shard_gone_or_cut(s3: S3Server, root: Path) -> None:
    import obstore

    address = s3.upload(root, "damaged")
    dataset = gs.open_dataset(address, storage_options={**s3.options, **QUICK})
    shard = dataset.access.shards()[1][1]
    data = (root / shard).read_bytes()
    obstore.put(s3.store("damaged"), shard, data[: len(data) // 2])
    for on_error in ("raise", "skip"):
        with pytest.raises(OSError, match=os.path.basename(shard)) as error:
            batches(dataset, on_error=on_error)
        assert "truncated" in str(error.value)


def test_s3_with_a_shard_that_is_not_there(s3: S3Server, tmp_path: Path) -> None:
    root = make_dataset(tmp_path, 6)
    shard = gs.open_dataset(root).access.shards()[1][1]
    (root / shard).unlink()
    dataset = gs.open_dataset(s3.upload(root, "gone"), storage_options=s3.options)
    with pytest.raises(FileNotFoundError, match=f"{dataset.path}/{shard} does not exist"):
        batches(dataset)


def test_batches_before_the_bad_one_are_given(tmp_path: Path) -> None:
    root = make_dataset(tmp_path, 6)
    expected = batches(gs.open_dataset(root), shuffle=False)
    with web_server(root) as (address, _):
        dataset = gs.open_dataset(address, storage_options=QUICK)
        (root / dataset.access.shards()[1][-1]).unlink()
        first_bad = int((dataset.access.shards()[0] == len(dataset.access.shards()[1]) - 1).argmax()) // 8
        seen: list[tuple[list[str], bytes]] = []
        loader = gs.Loader(dataset, 8, crop=CROP, seed=1, shuffle=False)
        with pytest.raises(FileNotFoundError):
            collect(loader, seen)
        assert seen == expected[:first_bad]
        assert loader.state_dict()["position"] == 8 * first_bad


def collect(loader: gs.Loader, seen: list[tuple[list[str], bytes]]) -> None:
    for batch in loader:
        seen.append((batch.keys, batch.images.numpy().tobytes()))


def test_no_dataset_in_the_bucket(s3: S3Server) -> None:
    with pytest.raises(FileNotFoundError, match="shard-tools pack"):
        gs.open_dataset(f"{s3.url}/nothing", storage_options=s3.options)


def test_wrong_keys(s3: S3Server, root: Path) -> None:
    address = s3.upload(root, "keys")
    began = time.monotonic()
    with pytest.raises(OSError, match=r"dataset\.json"):
        gs.open_dataset(address, storage_options={**s3.options, "secret_access_key": "no", **QUICK})
    assert time.monotonic() - began < 60


def test_an_address_nobody_serves() -> None:
    with pytest.raises(ValueError, match="gopher"):
        gs.open_dataset("gopher://somewhere/else")


@pytest.mark.parametrize("bad", [{"timeout": 0}, {"retries": -1}, {"parallel": 0}])
def test_senseless_patience(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        gs.open_dataset("http://127.0.0.1/x", storage_options=bad)


def test_coalescing() -> None:
    gap, chunk = GAP_BYTES, CHUNK_BYTES
    shards = [1, 0, 0, 0, 1, 0]
    offsets = [0, 500 + gap, 100, 200 + 2 * gap, 10, 300 + gap * 2 + 1 + 100 + gap]
    sizes = [5, 100, 400, 100, chunk, 7]
    spans = coalesce(shards, offsets, sizes)
    assert spans == [
        (0, 100, 300 + 2 * gap, [2, 1, 3]),
        (0, offsets[5], offsets[5] + 7, [5]),
        (1, 0, 5, [0]),
        (1, 10, 10 + chunk, [4]),
    ]


# -- web servers, among them bad ones ----------------------------------------------------------------------------------


class Behaviour:
    """How the server answers a request for a tar: normally, or once or always badly."""

    def __init__(self) -> None:
        self.kind = "well"
        self.left = 0  # bad answers to come; -1: all
        self.spared = 0  # good answers to come before these
        self.asked = 0
        self.sent = 0  # bytes of shards
        self.release = threading.Event()

    def bad(self) -> bool:
        if self.left == 0:
            return False
        if self.spared > 0:
            self.spared -= 1
            return False
        self.left -= self.left > 0
        return True


@contextmanager
def web_server(root: Path) -> Iterator[tuple[str, Behaviour]]:
    """A web server of a folder, with ranges, that can be told to misbehave."""
    behaviour = Behaviour()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def answer(self, with_body: bool) -> None:
            file = root / self.path.lstrip("/")
            if not file.is_file():
                self.send_error(404)
                return
            data = file.read_bytes()
            start, end, status = 0, len(data), 200
            if span := self.headers.get("Range"):
                first, last = span.removeprefix("bytes=").split("-")
                start, end, status = int(first), min(int(last) + 1, len(data)), 206
                if start >= len(data):
                    self.send_error(416)
                    return
            bad = None
            if file.suffix == ".tar":
                behaviour.asked += 1
                bad = behaviour.kind if behaviour.bad() else None
            if bad == "error":
                self.send_error(500)
                return
            if bad == "stall":
                behaviour.release.wait(30)
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Length", str(end - start))
            self.send_header("ETag", f'"{file.stat().st_mtime_ns:x}"')
            if status == 206:
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
            self.end_headers()
            if with_body:
                body = data[start:end]
                if bad in ("hang up", "stall midway"):
                    self.wfile.write(body[: len(body) // 2])
                    self.wfile.flush()
                    if bad == "stall midway":
                        behaviour.release.wait(30)
                    self.close_connection = True
                    return
                self.wfile.write(body)
                behaviour.sent += len(body) * (file.suffix == ".tar")

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            """A client that gave up is what these tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", behaviour
    finally:
        behaviour.release.set()
        server.shutdown()
        thread.join()
        server.server_close()


BAD = ["error", "hang up", "stall", "stall midway"]


def test_a_web_server_gives_what_the_folder_gives(root: Path) -> None:
    with web_server(root) as (address, _):
        dataset = gs.open_dataset(address)
        assert batches(dataset) == batches(gs.open_dataset(root))


@pytest.mark.parametrize("kind", BAD)
def test_passing_trouble_is_overcome(root: Path, kind: str) -> None:
    with web_server(root) as (address, behaviour):
        dataset = gs.open_dataset(address, storage_options={**QUICK, "timeout": 2.0, "retries": 4})
        expected = batches(gs.open_dataset(root))
        behaviour.kind, behaviour.left = kind, 3
        assert batches(dataset) == expected
        assert behaviour.left == 0


@pytest.mark.parametrize("kind", BAD)
def test_lasting_trouble_ends_in_an_error_that_names_the_shard(root: Path, kind: str) -> None:
    with web_server(root) as (address, behaviour):
        dataset = gs.open_dataset(address, storage_options={**QUICK, "timeout": 2.0, "retries": 1})
        loader = gs.Loader(dataset, 8, crop=CROP)
        running = iter(loader)
        first = next(running)
        assert len(first) == 8
        behaviour.kind, behaviour.left = kind, -1
        with pytest.raises(OSError, match=rf"{address}/.*\.tar.*gave up after 2 attempts"):
            list(loader)
        state = loader.state_dict()
        behaviour.left = 0
        loader.load_state_dict(state)  # and when the server is well again, the epoch goes on
        list(loader)


def test_refused_connection(root: Path) -> None:
    with web_server(root) as (address, _):
        dataset = gs.open_dataset(address, storage_options=QUICK)
        loader = gs.Loader(dataset, 8, crop=CROP)
        dataset.access.columns.load("shard", "offset", "size", "width", "height", "label", "generator")
        unread = gs.open_dataset(address, storage_options=QUICK)
    with pytest.raises(OSError, match=r"\.tar: .*gave up after 3 attempts"):
        list(loader)
    with pytest.raises(OSError, match=r"(\.tar|index\.parquet): .*gave up after 3 attempts"):
        batches(unread)
    with pytest.raises(OSError, match=r"dataset\.json.*gave up"):
        gs.open_dataset(f"http://127.0.0.1:{free_port()}", storage_options=QUICK)


def test_a_missing_file_is_not_asked_for_again(root: Path, tmp_path: Path) -> None:
    copied = make_dataset(tmp_path, 2)
    with web_server(copied) as (address, _):
        dataset = gs.open_dataset(address, storage_options={**QUICK, "pause": 1000})
        shard = dataset.access.shards()[1][0]
        (copied / shard).unlink()
        with pytest.raises(FileNotFoundError, match=shard):
            batches(dataset)


def test_leaving_while_bytes_are_under_way(root: Path) -> None:
    with web_server(root) as (address, behaviour):
        dataset = gs.open_dataset(address, storage_options=QUICK)
        for _ in range(3):
            running = iter(gs.Loader(dataset, 8, crop=CROP))
            next(running)
            behaviour.kind, behaviour.left = "stall", -1
            running.close()
            behaviour.left = 0
        assert len(batches(dataset)) == 9


# -- the index ---------------------------------------------------------------------------------------------------------


class CountingStore(LocalStore):
    """A folder that gives nothing but the spans that are asked for, and counts their bytes."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.asked = 0

    def read_spans(self, path: str, size: int, spans: Sequence[tuple[int, int]]) -> Any:
        assert all(0 <= start <= end <= size for start, end in spans)
        self.asked += sum(end - start for start, end in spans)
        return super().read_spans(path, size, spans)


@pytest.mark.parametrize("rows_per_group", [7, 10**6])
def test_only_the_columns_that_are_needed_are_fetched(root: Path, tmp_path: Path, rows_per_group: int) -> None:
    table = pq.read_table(root / schema.INDEX_FILE)
    path = tmp_path / schema.INDEX_FILE
    pq.write_table(table, path, row_group_size=rows_per_group)
    for name in table.column_names:
        store = CountingStore(tmp_path)
        columns = IndexColumns(store)
        footer = store.asked
        assert columns.num_rows == len(table)
        assert columns.table([name]).to_pylist() == table.select([name]).to_pylist()
        assert store.asked - footer < path.stat().st_size / 2
    rows = np.array([3, 8, 9, 70])
    columns = IndexColumns(CountingStore(tmp_path))
    assert columns.part("sha256", rows).to_pylist() == table["sha256"].take(rows).to_pylist()
    assert columns.hashes().tolist() == [int(digest[:16], 16) for digest in table["sha256"].to_pylist()]
    assert columns.keys(rows) == table["key"].take(rows).to_pylist()
    for condition in (
        pc.field("width") > pc.field("height"),
        pc.field("format") == "png",
        pc.field(table.column_names.index("width")) == 64,
        pc.scalar(True),
        pc.is_null(pc.field("jpeg_quality")) & pc.field("key").cast("string").isin(["nothing"]),
    ):
        assert columns.matches(condition).sum() == len(table.filter(condition))


@pytest.mark.parametrize("kept", [0, 1, 8, 1000])
def test_a_cut_index(root: Path, tmp_path: Path, kept: int) -> None:
    copied = make_dataset(tmp_path, 2)
    index = copied / schema.INDEX_FILE
    index.write_bytes(index.read_bytes()[:kept])
    with web_server(copied) as (address, _), pytest.raises(ValueError, match=r"index\.parquet cannot be read"):
        gs.open_dataset(address)
