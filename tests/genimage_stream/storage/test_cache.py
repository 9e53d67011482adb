"""The cache of shards: bounded, shared, sound after a kill; the loader reads the same through it."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

import genimage_stream as gs
from genimage_stream.resources import parse_size
from genimage_stream.storage.cache import LOCK, PART, ShardCache
from tests.fixtures.shards import edit_index, make_dataset
from tests.genimage_stream.storage.test_remote import QUICK, batches, web_server

SHARD = "adm/train/adm-train-00000.tar"


def put(cache: ShardCache, shard: str, data: bytes, *, evict: bool = True) -> bool:
    download = cache.begin(shard, len(data), evict=evict)
    if download is None:
        return False
    download.write(0, data)
    download.finish().close()
    return True


def has(cache: ShardCache, shard: str, size: int = 1) -> bool:
    held = cache.hold(shard, size)
    if held is not None:
        held.close()
    return held is not None


def test_a_shard_comes_back(tmp_path: Path) -> None:
    cache = ShardCache(tmp_path, 1000, "one")
    assert not has(cache, SHARD)
    assert put(cache, SHARD, b"0123456789")
    held = cache.hold(SHARD, 10)
    assert held is not None
    with held:
        assert held.read(3, 4) == b"3456"
    assert not has(ShardCache(tmp_path, 1000, "two"), SHARD)  # of another dataset
    assert cache.size() == 10
    assert not put(cache, SHARD, b"again")  # it is there


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    cache = ShardCache(tmp_path, 300, "one")
    for number in range(3):
        assert put(cache, f"{number}.tar", bytes(100))
        os.utime(cache.own / f"{number}.tar", (number, number))
    assert has(cache, "0.tar")  # used now
    assert put(cache, "3.tar", bytes(100))
    assert [has(cache, f"{number}.tar") for number in range(4)] == [True, False, True, True]
    assert cache.size() <= 300
    assert not put(cache, "4.tar", bytes(100), evict=False)
    assert not put(cache, "5.tar", bytes(301))  # never fits, but may have made room
    assert cache.size() <= 300


def test_what_is_in_use_stays(tmp_path: Path) -> None:
    cache = ShardCache(tmp_path, 100, "one")
    put(cache, "0.tar", bytes(100))
    held = cache.hold("0.tar", 100)
    assert held is not None
    with held:
        assert not put(cache, "1.tar", bytes(50))
        assert has(cache, "0.tar")
    assert put(cache, "1.tar", bytes(50))


def test_a_shorter_file_is_none(tmp_path: Path) -> None:
    cache = ShardCache(tmp_path, 1000, "one")
    put(cache, SHARD, bytes(100))
    os.truncate(cache.own / SHARD, 50)
    assert not has(cache, SHARD, 100)
    assert put(cache, SHARD, bytes(100))


def test_two_downloads_of_one_shard(tmp_path: Path) -> None:
    cache = ShardCache(tmp_path, 1000, "one")
    first = cache.begin(SHARD, 100, evict=True)
    assert first is not None
    assert cache.begin(SHARD, 100, evict=True) is None
    assert cache.being_downloaded(SHARD)
    assert cache.size() == 100  # reserved
    first.abandon()
    assert not cache.being_downloaded(SHARD)
    assert cache.size() == 0
    assert put(cache, SHARD, bytes(100))


def test_a_lock_that_another_process_keeps(tmp_path: Path) -> None:
    cache = ShardCache(tmp_path, 1000, "one", lock_seconds=0.1)
    with open(tmp_path / LOCK, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(OSError, match="lock for"):
            put(cache, SHARD, bytes(100))
    assert put(cache, SHARD, bytes(100))


FILL = """
import sys, time
from genimage_stream.storage.cache import ShardCache
cache = ShardCache(sys.argv[1], 1000, "one")
held = cache.begin("a.tar", 600, evict=True)
held.write(0, b"x" * 300)
print("half", flush=True)
time.sleep(100)
"""


def test_a_killed_download_leaves_nothing_that_counts(tmp_path: Path) -> None:
    cache = ShardCache(tmp_path, 1000, "one")
    process = subprocess.Popen([sys.executable, "-c", FILL, str(tmp_path)], stdout=subprocess.PIPE, env=environment())
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"half\n"
        assert cache.being_downloaded("a.tar")
        assert not put(cache, "b.tar", bytes(600))  # no room while it lives
        process.send_signal(signal.SIGKILL)
        process.wait()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert not has(cache, "a.tar")
    assert not cache.being_downloaded("a.tar")
    assert put(cache, "b.tar", bytes(600))  # its room is taken back
    assert not list(tmp_path.rglob(f"*{PART}"))
    assert put(cache, "a.tar", bytes(400))


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


# -- the loader through it ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("dataset"), 8, per_shard=6)


def settled(folder: Path) -> None:
    """Wait until nothing is being downloaded."""
    deadline = time.monotonic() + 120
    while list(folder.rglob(f"*{PART}")) and time.monotonic() < deadline:
        time.sleep(0.05)


@pytest.mark.parametrize("shuffle", [True, "shards", False])
@pytest.mark.parametrize("cache_size", ["1GB", "60kB", 0])
def test_batches_are_those_of_the_folder(root: Path, tmp_path: Path, shuffle: Any, cache_size: Any) -> None:
    options: dict[str, Any] = {"shuffle": shuffle, "window": 2 if shuffle == "shards" else None}
    expected = batches(gs.open_dataset(root), **options)
    with web_server(root) as (address, _):
        dataset = gs.open_dataset(address, cache_dir=tmp_path, cache_size=cache_size)
        for _ in range(2):
            assert batches(dataset, **options) == expected
        settled(tmp_path)
        assert sum(file.stat().st_size for file in tmp_path.rglob("*.tar*")) <= parse_size(cache_size)


@pytest.mark.parametrize("shuffle", [True, "shards", False])
def test_in_the_end_the_server_is_not_asked_any_more(root: Path, tmp_path: Path, shuffle: Any) -> None:
    with web_server(root) as (address, behaviour):
        loader = gs.Loader(gs.open_dataset(address, cache_dir=tmp_path), 8, crop=16, shuffle=shuffle)
        shards = loader.dataset.access.shards()[1]
        deadline = time.monotonic() + 200
        while len(list(tmp_path.rglob("*.tar"))) < len(shards):
            list(loader)
            assert time.monotonic() < deadline
            time.sleep(0.05)
        settled(tmp_path)
        asked = behaviour.asked
        seen = [key for batch in loader for key in batch.keys]
        assert behaviour.asked == asked
        assert sorted(seen) == sorted(loader.dataset.table()["key"].to_pylist())


@pytest.mark.parametrize("kind", ["content", "place"])
def test_a_shard_that_does_not_fit_the_index_is_not_kept(tmp_path: Path, kind: str) -> None:
    root = make_dataset(tmp_path / "dataset", 4)
    shard = sorted(root.rglob("*.tar"))[0]
    if kind == "content":
        data = bytearray(shard.read_bytes())
        data[gs.open_dataset(root).access.columns.numbers("offset")[0][0] + 20] ^= 1
        shard.write_bytes(data)
    else:
        import pyarrow as pa

        def shift(table: pa.Table) -> pa.Table:
            place = table.schema.get_field_index("size")
            return table.set_column(place, "size", pa.array([n - 1 for n in table["size"].to_pylist()]))

        edit_index(root, shift)
    with web_server(root) as (address, _):
        loader = gs.Loader(
            gs.open_dataset(address, cache_dir=tmp_path / "cache"), 8, crop=16, on_error="skip", strict=False
        )
        wrong = pytest.raises(OSError, match="not the shard that the index describes")
        with wrong if kind == "place" else nullcontext():
            list(loader)
        time.sleep(0.5)
        settled(tmp_path / "cache")
        assert not list((tmp_path / "cache").rglob(shard.name))


@pytest.mark.parametrize("fits", [True, False])
def test_crop_ready_shards_go_by_the_hash_of_what_is_stored(tmp_path: Path, fits: bool) -> None:
    """`sha256` is that of the original file there, which no byte of the shard shows."""
    import pyarrow as pa

    root = make_dataset(tmp_path / "dataset", 4)

    def recoded(table: pa.Table) -> pa.Table:
        stored = table["sha256"] if fits else pa.array(["0" * 64] * len(table))
        place = table.schema.get_field_index("sha256")
        originals = pa.array([f"{row:064x}" for row in range(len(table))])
        return table.set_column(place, "sha256", originals).append_column("stored_sha256", stored)

    edit_index(root, recoded)
    with web_server(root) as (address, _):
        loader = gs.Loader(gs.open_dataset(address, cache_dir=tmp_path / "cache"), 8, crop=16)
        list(loader)
        deadline = time.monotonic() + 120
        while fits and not list((tmp_path / "cache").rglob("*.tar")) and time.monotonic() < deadline:
            time.sleep(0.05)
        settled(tmp_path / "cache")
        assert bool(list((tmp_path / "cache").rglob("*.tar"))) == fits


HOLD = """
import fcntl, os, sys, time
part = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(part, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(1000)
"""


def test_a_stopped_process_holds_nobody_up(root: Path, tmp_path: Path) -> None:
    """Its lock was once waited for without an end."""
    with web_server(root) as (address, _):
        options = {**QUICK, "timeout": 1.0, "retries": 9}
        dataset = gs.open_dataset(address, cache_dir=tmp_path, storage_options=options)
        list(gs.Loader(dataset, 8, crop=16, shuffle=False))
        settled(tmp_path)
        cached = sorted(tmp_path.rglob("*.tar"))[2]
        cached.unlink()
        part = cached.with_name(cached.name + PART)
        loader = gs.Loader(dataset, 8, crop=16, shuffle=False)
        holder = subprocess.Popen([sys.executable, "-c", HOLD, str(part)], stdout=subprocess.PIPE)
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            holder.send_signal(signal.SIGSTOP)
            expected = [batch.keys for batch in gs.Loader(gs.open_dataset(root), 8, crop=16, shuffle=False)]
            assert [batch.keys for batch in loader] == expected
        finally:
            holder.kill()
            holder.wait()
            assert holder.stdout is not None
            holder.stdout.close()


def test_a_cache_smaller_than_a_shard_is_told(root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with web_server(root) as (address, _), caplog.at_level("WARNING", "genimage_stream"):
        loader = gs.Loader(gs.open_dataset(address, cache_dir=tmp_path, cache_size="2kB"), 8, crop=16, shuffle="shards")
        list(loader)
        deadline = time.monotonic() + 120
        while not caplog.messages and time.monotonic() < deadline:
            time.sleep(0.05)
    (message,) = caplog.messages
    assert ".tar" in message
    assert "cache_size above 2000" in message


def test_a_cache_of_local_files_is_told(root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for path in (root, f"file://{root}"):
        caplog.clear()
        gs.open_dataset(path, cache_dir=tmp_path / "cache")
        (message,) = caplog.messages
        assert "cache_dir is for object stores" in message
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_cannot_be_written(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with web_server(root) as (address, _):
        dataset = gs.open_dataset(address, cache_dir=tmp_path / "file")
        with pytest.raises(OSError, match="file"):
            batches(dataset)


READ = """
import sys
import genimage_stream as gs
dataset = gs.open_dataset(sys.argv[1], cache_dir=sys.argv[2], cache_size="90kB")
rank, shuffle = int(sys.argv[3]), sys.argv[4]
loader = gs.Loader(dataset, 4, crop=16, shuffle=shuffle, window=2 if shuffle == "shards" else None, seed=rank)
for _ in range(2):
    keys = [key for batch in loader for key in batch.keys]
    assert len(set(keys)) == len(dataset) == len(keys)
print("done")
"""


def test_several_processes_share_it_and_one_is_killed(root: Path, tmp_path: Path) -> None:
    with web_server(root) as (address, _):
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", READ, address, str(tmp_path), str(rank), shuffle],
                env=environment(),
                stdout=subprocess.PIPE,
            )
            for rank, shuffle in enumerate(["shards", "full"])
        ]
        deadline = time.monotonic() + 120
        while not list(tmp_path.rglob("*.tar*")) and time.monotonic() < deadline:
            time.sleep(0.02)
        processes[0].kill()
        outputs = [process.communicate(timeout=200)[0] for process in processes]
        assert processes[1].returncode == 0
        assert outputs[1] == b"done\n"
        dataset = gs.open_dataset(address, cache_dir=tmp_path, cache_size="90kB", storage_options=QUICK)
        assert batches(dataset, shuffle="shards") == batches(gs.open_dataset(root), shuffle="shards")
    settled(tmp_path)
    assert sum(file.stat().st_size for file in tmp_path.rglob("*.tar")) <= 90_000
