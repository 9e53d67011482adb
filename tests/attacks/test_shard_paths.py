"""An index whose shards lie outside of the dataset: no reader or tool opens, writes or removes anything there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import genimage_stream as gs
from genimage_stream import schema
from genimage_stream.storage.cache import ShardCache
from shard_tools.state import write_json
from shard_tools.target.local_storage import LocalStorage
from tests.fixtures.shards import make_dataset
from tests.genimage_stream.storage.test_remote import QUICK, web_server

OUTSIDE = ["../outside.tar", "adm/../../outside.tar", "/tmp/outside.tar", "adm/./x.tar", "adm//x.tar", "..", ""]
OUTSIDE += ["/dev/stdin", "/etc/passwd", "adm\\..\\x.tar", "http://elsewhere/x.tar", "adm/x\n.tar", "adm/\x1b[2Jx.tar"]
OUTSIDE += ["adm/x.tar\0", "~/../x.tar", "dataset.json"]


def point_to(root: Path, shard: str | None) -> None:
    """Let all rows of the index's first shard name another one, as somebody who writes the index could."""
    table = pq.read_table(root / schema.INDEX_FILE)
    place = table.schema.get_field_index("shard")
    words = table["shard"].cast(pa.string()).to_pylist()
    changed = pa.array([shard if word == words[0] else word for word in words], pa.string()).dictionary_encode()
    pq.write_table(table.set_column(place, table.schema.field("shard"), changed), root / schema.INDEX_FILE)


def load(dataset: gs.Dataset) -> None:
    for _ in gs.Loader(dataset, 4, crop=16, threads=1):
        pass


@pytest.mark.parametrize("shard", [*OUTSIDE, None])
def test_loading_names_the_path(tmp_path: Path, shard: str | None) -> None:
    root = make_dataset(tmp_path / "dataset", 4)
    (tmp_path / "outside.tar").write_bytes(b"mine")
    point_to(root, shard)
    dataset = gs.open_dataset(root)
    for use in (load, lambda d: d.access.shards(), lambda d: d.table(), lambda d: d.table(["shard"])):
        with pytest.raises(ValueError, match="names the shard") as error:
            use(dataset)
        assert repr(shard) in str(error.value)  # escaped: nothing of it reaches a terminal as it is
        assert schema.INDEX_FILE in str(error.value)


@pytest.mark.parametrize("shard", ["../../../victim.tar", "/victim.tar"])
def test_a_cache_touches_nothing_outside(tmp_path: Path, shard: str) -> None:
    """The hole that this folder began with: a download, an eviction or a damaged copy at any path of the user's."""
    victim = tmp_path / "victim.tar"
    victim.write_bytes(b"precious")
    root = make_dataset(tmp_path / "served", 4)
    point_to(root, str(victim) if shard.startswith("/") else shard)
    with web_server(root) as (address, _):
        dataset = gs.open_dataset(address, storage_options=QUICK, cache_dir=tmp_path / "a" / "cache", cache_size="1GB")
        with pytest.raises(ValueError, match="names the shard"):
            load(dataset)
    assert victim.read_bytes() == b"precious"
    assert not list(tmp_path.rglob("*.part"))


def commands(root: Path, tmp_path: Path) -> list[list[str]]:
    python = [sys.executable, "-m"]
    return [
        [*python, "shard_tools", "verify", str(root)],
        [*python, "shard_tools", "report", str(root), "--html", str(tmp_path / "report.html")],
        [*python, "genimage_stream", "bench", str(root), "--seconds", "0.1", "--crop", "16", "--batch-size", "4"],
    ]


def test_every_tool_refuses(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "dataset", 4)
    rows = pq.read_metadata(root / schema.INDEX_FILE).num_rows
    shards = [{"path": "adm/train/adm-train-00000.tar", "samples": rows, "size": 1}]
    counts = {"samples": rows, "quarantined": 0, "shards": 1, "size": 1, "groups": []}
    facts = {"format_version": 1, "seed": 0, "options": {}, "plan_digest": "0", "counts": counts, "shards": shards}
    write_json(LocalStorage(str(root)), schema.DATASET_FILE, facts)
    point_to(root, "/dev/zero")
    for command in commands(root, tmp_path):
        done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
        assert done.returncode in (1, 2), (command, done)
        assert "/dev/zero" in done.stdout + done.stderr, (command, done)
        assert "Traceback" not in done.stderr, (command, done)
    write_json(LocalStorage(str(root)), schema.DATASET_FILE, facts | {"shards": [shards[0] | {"path": "../x.tar"}]})
    done = subprocess.run(
        [sys.executable, "-m", "shard_tools", "info", str(root)],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 2, done
    assert "../x.tar" in done.stderr


@pytest.mark.parametrize("what", ["link to a file", "link through a folder", "pipe", "device"])
def test_what_is_on_disk_leads_nowhere_else(tmp_path: Path, what: str) -> None:
    root = make_dataset(tmp_path / "dataset", 4)
    dataset = gs.open_dataset(root)
    shard = root / dataset.access.shards()[1][0]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    if what == "link through a folder":
        os.rename(shard.parent, elsewhere / "train")
        shard.parent.symlink_to(elsewhere / "train")
    else:
        os.rename(shard, elsewhere / "moved.tar")
        if what == "link to a file":
            shard.symlink_to(elsewhere / "moved.tar")
        elif what == "pipe":
            os.mkfifo(shard)
        else:
            shard.symlink_to("/dev/zero")
    expected = "not a regular file" if what == "pipe" else "leads out of the dataset"
    with pytest.raises(OSError, match=expected) as error:
        load(gs.open_dataset(root))
    assert str(shard) in str(error.value)
    verified = subprocess.run(commands(root, tmp_path)[0], capture_output=True, text=True, timeout=250, check=False)
    assert verified.returncode in {1, 2}


def test_a_shard_that_becomes_a_pipe_is_an_error(tmp_path: Path) -> None:
    """Between the check and the first read: the decoder's threads do not wait for a writer."""
    root = make_dataset(tmp_path / "dataset", 4)
    paths = [str(tmp_path / "pipe")]
    os.mkfifo(paths[0])
    ranges = gs.FileRanges(gs.FileSet(paths), np.zeros(1, np.int32), np.zeros(1, np.int64), np.ones(1, np.int64))
    (error,) = gs.decode_batch(ranges, np.empty((1, 3, 8, 8), np.uint8), crops=[[0, 0]])
    assert error.kind == "io"
    assert "not a regular file" in error.message
    assert root.is_dir()


def test_links_within_the_dataset_and_to_it_are_fine(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "dataset", 4)
    (tmp_path / "link").symlink_to(root)
    shard = root / gs.open_dataset(root).access.shards()[1][0]
    os.rename(shard, shard.with_name("kept.tar"))
    shard.symlink_to("kept.tar")
    load(gs.open_dataset(tmp_path / "link"))


def cache_calls(cache: ShardCache) -> list[Any]:
    shard = "adm/x.tar"
    return [lambda: cache.begin(shard, 4, evict=True), lambda: cache.hold(shard, 1 << 40)]


@pytest.mark.parametrize("place", ["adm", "adm/x.tar.part", "adm/x.tar"])
def test_links_in_a_shared_cache_are_not_followed(tmp_path: Path, place: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.tar").write_bytes(b"precious")
    (outside / "x.tar.part").write_bytes(b"precious")
    cache = ShardCache(tmp_path / "cache", 1000, "one")
    link = cache.own / place
    link.parent.mkdir(parents=True)
    link.symlink_to(outside if place == "adm" else outside / Path(place).name)
    for call in cache_calls(cache):
        try:
            found = call()
        except OSError as error:
            assert "leads out of the cache" in str(error) or error.filename  # noqa: PT017
        else:
            if found is not None:
                found.write(0, b"mine")
                found.finish().close()
    assert (outside / "x.tar").read_bytes() == b"precious"
    assert (outside / "x.tar.part").read_bytes() == b"precious"


@pytest.mark.parametrize("kind", ["second name", "pipe"])
def test_a_download_goes_to_no_other_file_in_a_shared_cache(tmp_path: Path, kind: str) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    cache = ShardCache(tmp_path / "cache", 1000, "one")
    part = cache.own / "adm" / "x.tar.part"
    part.parent.mkdir(parents=True)
    if kind == "pipe":
        os.mkfifo(part)
    else:
        os.link(tmp_path / "precious", part)
    with pytest.raises(OSError, match=r"x\.tar\.part is not a file of this cache: remove it"):
        cache.begin("adm/x.tar", 4, evict=True)
    assert (tmp_path / "precious").read_bytes() == b"precious"


def test_no_folder_is_made_through_a_link_in_a_shared_cache(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    cache = ShardCache(tmp_path / "cache", 1000, "one")
    cache.own.symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match="leads out of the cache"):
        cache.begin("adm/x.tar", 4, evict=True)
    assert not list((tmp_path / "outside").iterdir())


def test_a_file_in_place_of_a_folder_of_a_shared_cache(tmp_path: Path) -> None:
    cache = ShardCache(tmp_path / "cache", 1000, "one")
    cache.own.write_bytes(b"")
    assert cache.hold("adm/x.tar", 4) is None
