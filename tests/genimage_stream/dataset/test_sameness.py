"""A dataset that changes while it is open, in a pickle or between two runs: growth goes on, anything else is said."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import genimage_stream as gs
from genimage_stream import schema
from genimage_stream.storage import remote_snapshot
from genimage_stream.storage.versions import ChangedError
from tests.fixtures.shards import Sample, edit_index, make_samples, write_dataset
from tests.genimage_stream.storage.test_remote import QUICK, web_server

OPTIONS: dict[str, Any] = {"batch_size": 4, "crop": 16, "threads": 2, "seed": 3}
Place = Callable[[], str]


def write(root: Path, samples: Sequence[Sample]) -> None:
    """Put a dataset in the place of the one that may be there, file by file, its index last, as the packer does."""
    fresh = root.with_name(root.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    write_dataset(fresh, samples)
    files = sorted((path for path in fresh.rglob("*") if path.is_file()), key=lambda path: path.suffix != ".tar")
    kept = {path.relative_to(fresh) for path in files}
    for path in root.rglob("*.tar"):
        if path.relative_to(root) not in kept:
            path.unlink()
    for path in files:
        target = root / path.relative_to(fresh)
        target.parent.mkdir(parents=True, exist_ok=True)
        if not (
            target.exists() and target.read_bytes() == path.read_bytes()
        ):  # the packer leaves finished shards alone
            os.replace(path, target)


SAMPLES = make_samples(6)
SMALL = [sample for sample in SAMPLES if sample.generator != "biggan"]
REPACKED = [SAMPLES[at] for at in np.random.default_rng(0).permutation(len(SAMPLES))]


@pytest.fixture(params=["folder", "web server"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """(folder, how to open the dataset in it)."""
    root = tmp_path / "dataset"
    if request.param == "folder":
        yield root, lambda: gs.open_dataset(root)
    else:
        root.mkdir()
        with web_server(root) as (address, _):
            yield root, lambda: gs.open_dataset(address, storage_options=QUICK)


def contents(loader: gs.Loader) -> list[tuple[list[str], bytes]]:
    return [(batch.keys, batch.images.numpy().tobytes()) for batch in loader]


def test_packed_anew_while_it_is_open(place: Any) -> None:
    """Labels of the old index with pixels of the new one, before."""
    root, open_it = place
    write(root, SAMPLES)
    dataset = open_it().select(splits=["train"])
    loader, running = gs.Loader(dataset, **OPTIONS), gs.Loader(dataset, prefetch=1, **OPTIONS)
    begun = iter(running)
    next(begun)
    write(root, REPACKED)
    for use in (lambda: list(loader), lambda: list(begun), lambda: list(running), lambda: list(gs.Loader(dataset))):
        with pytest.raises((ChangedError, OSError), match="changed after it was opened"):
            use()
    assert len(list(gs.Loader(open_it().select(splits=["train"]), **OPTIONS))) == 9


@pytest.mark.parametrize("when", ["before the first batch", "inside an epoch", "between epochs"])
def test_growth_changes_nothing_for_a_reader(place: Any, when: str) -> None:
    root, open_it = place
    write(root, SMALL)
    expected = gs.Loader(open_it(), **OPTIONS)
    epochs = [contents(expected) for _ in range(2)]
    dataset = open_it()
    loader = gs.Loader(dataset, prefetch=1, **OPTIONS)
    found: list[tuple[list[str], bytes]] = []
    epoch = iter(loader)
    if when == "inside an epoch":
        batch = next(epoch)
        found.append((batch.keys, batch.images.numpy().tobytes()))
    elif when == "between epochs":
        found += contents(loader)
        epoch = iter(loader)
    write(root, SAMPLES)
    found += [(batch.keys, batch.images.numpy().tobytes()) for batch in epoch]
    while loader.epoch < 2:
        found += contents(loader)
    assert found == epochs[0] + epochs[1]
    assert len(open_it()) == len(dataset) * 3 // 2


def test_an_index_that_is_rewritten_in_place_is_said_to_have_changed(place: Any) -> None:
    root, open_it = place
    write(root, SAMPLES)
    dataset = open_it()
    pq.write_table(pq.read_table(root / schema.INDEX_FILE), root / schema.INDEX_FILE, row_group_size=7)
    if "://" in dataset.path:  # copied as it was
        assert len(dataset.table()) == len(dataset)
    else:
        with pytest.raises(ChangedError, match="changed after it was opened: open the dataset again"):
            dataset.table()


def test_a_large_index_that_changes_in_a_store_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_snapshot, "CHUNK_BYTES", 1000)
    root = tmp_path / "dataset"
    write(root, SMALL)
    with web_server(root) as (address, _):
        dataset, loader = (gs.open_dataset(address, storage_options=QUICK) for _ in range(2))
        running = iter(gs.Loader(loader, **OPTIONS))
        next(running)  # from now on all of the index is here
        write(root, SAMPLES)
        with pytest.raises(ChangedError, match="changed after it was opened: open the dataset again"):
            dataset.table()
        with pytest.raises(ChangedError, match="changed after it was opened: open the dataset again"):
            list(gs.Loader(dataset))
        assert len(loader.table()) == len(SMALL) == 4 + sum(len(batch) for batch in running)


def test_a_shard_that_is_rewritten_in_place(place: Any) -> None:
    root, open_it = place
    write(root, SAMPLES)
    dataset = open_it()
    loader = gs.Loader(dataset, prefetch=1, **OPTIONS)
    epoch = iter(loader)
    next(epoch)
    for path in root.rglob("*.tar"):
        data = path.read_bytes()
        path.write_bytes(data)
    with pytest.raises(OSError, match="changed after it was opened"):
        list(epoch)


def test_the_digest_is_that_of_the_samples(tmp_path: Path) -> None:
    write(tmp_path / "small", SMALL)
    write(tmp_path / "all", SAMPLES)
    small, whole = gs.open_dataset(tmp_path / "small"), gs.open_dataset(tmp_path / "all")
    same = whole.select(generators=["adm", "sd14"])
    assert same.access.digest() == small.access.digest() == small.select(labels=["real", "fake"]).access.digest()
    assert whole.access.digest() != small.access.digest()
    digests = {small.access.digest(), small.select(splits=["val"]).access.digest(), small.first(1).access.digest()}
    assert len(digests) == 3
    assert len(small.select(generators=[]).access.digest()) == 32

    def other(name: str) -> Callable[[pa.Table], pa.Table]:
        def change(table: pa.Table) -> pa.Table:
            words = table[name].to_pylist()
            words[5] = words[6] if name == "sha256" else words[5] + "x"
            return table.set_column(table.schema.get_field_index(name), name, pa.array(words))

        return change

    for name in ("key", "sha256"):
        before = gs.open_dataset(tmp_path / "small").access.digest()
        edit_index(tmp_path / "small", other(name))
        assert gs.open_dataset(tmp_path / "small").access.digest() != before
    edit_index(tmp_path / "small", lambda table: table.take([1, 0, *range(2, len(table))]))
    assert gs.open_dataset(tmp_path / "small").access.digest() not in digests


def test_states_survive_growth_and_name_a_changed_dataset(place: Any) -> None:
    root, open_it = place
    write(root, SMALL)
    part = open_it().select(generators=["sd14"])
    loader = gs.Loader(part, **OPTIONS)
    next(iter(loader))
    state = loader.state_dict()
    write(root, SAMPLES)
    grown = gs.Loader(open_it().select(generators=["sd14"]), **OPTIONS)
    grown.load_state_dict(state)
    assert sum(len(batch) for batch in grown) == len(part) - 4
    write(root, REPACKED)
    with pytest.raises(ValueError, match="dataset: "):
        gs.Loader(open_it().select(generators=["sd14"]), **OPTIONS).load_state_dict(state)


@pytest.mark.parametrize("which", ["all", "part"])
def test_pickled_samples_are_found_again_by_key(place: Any, which: str) -> None:
    root, open_it = place
    write(root, SMALL)
    dataset = open_it()
    if which == "part":
        dataset = dataset.select(generators=["sd14"], splits=["val"])
    keys = dataset.table(["key"])["key"].to_pylist()
    pickled = pickle.dumps(dataset)
    for samples in (SMALL, SAMPLES):
        write(root, samples)
        again = pickle.loads(pickled)
        assert again.table(["key"])["key"].to_pylist() == keys
        assert again.access.digest() == dataset.access.digest()
    assert (again.index_rows != dataset.index_rows).any()
    assert pickle.loads(pickle.dumps(again)).table(["key"])["key"].to_pylist() == keys
    for samples, says in ((REPACKED, "another order"), ([s for s in SMALL if s.key != keys[3]], f"e.g. '{keys[3]}'")):
        write(root, samples)
        with pytest.raises(ChangedError, match=says):
            pickle.loads(pickled)


def test_a_dataset_that_is_taken_away(place: Any) -> None:
    root, open_it = place
    write(root, SAMPLES)
    dataset = open_it()
    loader = gs.Loader(dataset, **OPTIONS)
    list(loader)
    (root / schema.INDEX_FILE).unlink()
    with pytest.raises(ChangedError, match="changed after it was opened, and cannot be read now"):
        list(loader)
    if "://" not in dataset.path:
        assert dataset.table().num_rows == len(dataset)  # by the descriptor


def test_a_copy_with_other_inodes_is_the_same_dataset(tmp_path: Path) -> None:
    write(tmp_path / "first", SAMPLES)
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    os.rename(tmp_path / "first", tmp_path / "dataset")
    dataset = gs.open_dataset(tmp_path / "dataset").select(where=pc.field("width") > 30)
    pickled = pickle.dumps(dataset)
    shutil.rmtree(tmp_path / "dataset")
    os.rename(tmp_path / "second", tmp_path / "dataset")
    assert pickle.loads(pickled).access.digest() == dataset.access.digest()
