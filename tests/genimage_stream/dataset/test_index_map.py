"""`.index.arrow`: what a loader needs of the index, mapped into memory; a cache that is never trusted."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import genimage_stream as gs
from genimage_stream import schema
from genimage_stream.dataset.index_map import NUMBERS, WORDS
from genimage_stream.dataset.opening import open_index
from genimage_stream.storage.store_at import open_store
from genimage_stream.storage.versions import ChangedError
from tests.fixtures.genimage import make_tree
from tests.shard_tools.conftest import pack_here, shard_tools_here


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small dataset. Not to be written to."""
    root = tmp_path_factory.mktemp("mapped")
    make_tree(root / "tree", generators=("adm", "biggan"), count=3)
    pack_here(root / "tree", root / "dst")
    return root / "dst"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache, in which nothing is yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "genimage-stream" / "index"


@pytest.fixture
def copy(packed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(packed, tmp_path / "dst"))


def columns(path: Path) -> dict[str, list[object]]:
    """What a loader needs, as a reader gets it."""
    found = gs.open_dataset(path).access.columns
    words = {name: [values[code] for code in codes] for name in WORDS for codes, values in [found.words(name)]}
    numbers = {name: found.numbers(name)[0].tolist() for name in NUMBERS}
    return {**words, **numbers, "sha256": found.hashes().tolist(), "key": found.keys(np.arange(found.num_rows))}


def truth(path: Path) -> dict[str, list[object]]:
    """The same from the Parquet file, by pyarrow alone."""
    table = pq.read_table(path / schema.INDEX_FILE)
    found = {name: table[name].to_pylist() for name in (*WORDS, *NUMBERS, "key")}
    return {**found, "sha256": [int(digits[:16], 16) for digits in table["sha256"].to_pylist()]}


def mapped_file(path: Path) -> str:
    """The file of which a reader uses the columns."""
    found = gs.open_dataset(path).access.columns
    array = found.words("label")[0]
    assert not array.flags.owndata
    assert not array.flags.writeable
    maps = Path("/proc/self/maps").read_text()
    return next(line.split()[-1] for line in maps.splitlines() if "arrow" in line and str(path.parent) in line)


def test_pack_writes_the_map_and_readers_use_it(copy: Path, packed: Path, cache: Path) -> None:
    assert (packed / schema.MAP_FILE).is_file()
    open_index(open_store(str(copy))).write_map()
    assert columns(copy) == truth(copy)
    assert mapped_file(copy) == str(copy / schema.MAP_FILE)
    assert not list(cache.glob("*.arrow"))


def test_it_is_an_arrow_file(packed: Path) -> None:
    table = pa.ipc.open_file(packed / schema.MAP_FILE).read_all()
    assert table["key"].to_pylist() == pq.read_table(packed / schema.INDEX_FILE)["key"].to_pylist()


def test_a_copied_dataset_is_known_by_its_digest(copy: Path, cache: Path) -> None:
    """A copy has another inode and other times; nothing else is made, and what was found out is remembered."""
    assert columns(copy) == truth(copy)
    assert mapped_file(copy) == str(copy / schema.MAP_FILE)
    assert [path.suffix for path in cache.iterdir()] == [".json"]
    said = json.loads(next(cache.iterdir()).read_bytes())
    assert said["digest"] == hashlib.sha256((copy / schema.INDEX_FILE).read_bytes()).hexdigest()


def test_a_first_reader_makes_it_in_the_users_cache(copy: Path, cache: Path) -> None:
    (copy / schema.MAP_FILE).unlink()
    before = sorted(copy.iterdir())
    assert columns(copy) == truth(copy)
    assert mapped_file(copy) in {str(path) for path in cache.glob("*.arrow")}
    assert sorted(copy.iterdir()) == before


def test_without_a_place_for_it_the_index_is_read(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (copy / schema.MAP_FILE).unlink()
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    assert columns(copy) == truth(copy)


def test_another_index_is_never_given_old_labels(copy: Path, cache: Path) -> None:
    """Written in place with its inode, and its times set back: the time of the change of the inode is another one."""
    index = copy / schema.INDEX_FILE
    for _ in range(2):  # a map beside the index, then one in the cache
        assert columns(copy) == truth(copy)
        times = index.stat()
        table = pq.read_table(index)
        label = table["label"].cast(pa.string()).to_pylist()
        other = pa.array(["real" if word == "fake" else "fake" for word in label]).dictionary_encode()
        changed = table.set_column(table.schema.get_field_index("label"), "label", other)
        sink = pa.BufferOutputStream()
        pq.write_table(changed, sink, compression="zstd")
        with open(index, "r+b") as file:
            file.write(sink.getvalue())
            file.truncate()
        os.utime(index, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert columns(copy) == truth(copy) != label
    assert len(list(cache.glob("*.arrow"))) == 1


@pytest.mark.parametrize("where", ["beside", "cache"])
def test_damage_anywhere_is_noticed(copy: Path, cache: Path, where: str) -> None:
    expected = truth(copy)
    if where == "cache":
        (copy / schema.MAP_FILE).unlink()
        columns(copy)
    place = copy / schema.MAP_FILE if where == "beside" else next(cache.glob("*.arrow"))
    sound = place.read_bytes()
    random = np.random.default_rng(20)
    for at in [*random.integers(0, len(sound), 60).tolist(), 0, len(sound) - 1]:
        place.unlink()
        place.write_bytes(sound[:at] + bytes([sound[at] ^ 1 << int(random.integers(8))]) + sound[at + 1 :])
        assert columns(copy) == expected
    for size in (0, 5, len(sound) // 2, len(sound) - 1):
        place.unlink()
        place.write_bytes(sound[:size])
        assert columns(copy) == expected


def test_a_foreign_map_is_not_taken(copy: Path, packed: Path, cache: Path, tmp_path: Path) -> None:
    """That of another dataset, whatever it is called; a link; one in the cache that others may write to."""
    other = tmp_path / "other"
    shutil.copytree(copy, other)
    table = pq.read_table(other / schema.INDEX_FILE)
    pq.write_table(table.take(pa.array(np.arange(len(table))[::-1])), other / schema.INDEX_FILE)
    open_index(open_store(str(other))).write_map()
    shutil.copy(other / schema.MAP_FILE, copy / schema.MAP_FILE)
    assert columns(copy) == truth(copy)
    assert "cache" in mapped_file(copy)
    kept = next(cache.glob("*.arrow"))
    kept.chmod(0o666)
    assert columns(copy) == truth(copy)
    assert kept.stat().st_mode & 0o022 == 0  # made anew
    (copy / schema.MAP_FILE).unlink()
    (copy / schema.MAP_FILE).symlink_to(other / schema.MAP_FILE)
    kept.unlink()
    assert columns(copy) == truth(copy)


def test_writing_into_a_map_in_use_is_an_error(copy: Path, cache: Path) -> None:
    open_index(open_store(str(copy))).write_map()
    found = gs.open_dataset(copy).access.columns
    found.words("label")
    with open(copy / schema.MAP_FILE, "ab") as file:
        file.write(b"x")
    with pytest.raises(ChangedError, match="written to while it was in use"):
        found.version_now()


def test_a_map_that_is_replaced_stays_open(copy: Path, cache: Path) -> None:
    open_index(open_store(str(copy))).write_map()
    found = gs.open_dataset(copy).access.columns
    codes, _ = found.words("label")
    before = codes.tolist()
    open_index(open_store(str(copy))).write_map()
    assert found.version_now() == found.version
    assert codes.tolist() == before


def test_selections_are_pickled_as_before(copy: Path, cache: Path) -> None:
    selected = gs.open_dataset(copy).select(labels=["fake"])
    again = pickle.loads(pickle.dumps(selected))
    assert again.access.digest() == selected.access.digest()
    (copy / schema.MAP_FILE).unlink()
    shutil.rmtree(cache)
    assert pickle.loads(pickle.dumps(selected)).access.digest() == selected.access.digest()


def test_verify_says_what_is_wrong_with_it(copy: Path, cache: Path) -> None:
    place = copy / schema.MAP_FILE
    assert shard_tools_here("verify", copy, "--json").json["notes"] == []
    data = bytearray(place.read_bytes())
    data[len(data) // 2] ^= 255
    place.write_bytes(data)
    done = shard_tools_here("verify", copy, "--json")
    (note,) = done.json["notes"]
    assert done.code == 0
    assert "damaged" in note
    assert str(place) in note
