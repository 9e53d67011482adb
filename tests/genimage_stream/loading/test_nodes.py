"""`Loader(shuffle="nodes")`: nodes that keep their shards, with their caches, on any world."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import DataLoader

import genimage_stream as gs
from genimage_stream.loading.replay import differences, loader_of
from tests.fixtures.counted import counted
from tests.fixtures.s3 import S3Server
from tests.fixtures.shards import make_dataset

CROP = 16


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("dataset"), 20, per_shard=8)


def loaders(datasets: list[gs.Dataset], ranks: int = 1, **options: Any) -> list[gs.Loader]:
    """One for each rank, of nodes that open the dataset each with its own cache."""
    world = len(datasets) * ranks
    options = {"batch_size": 4, "crop": CROP, "shuffle": "nodes", "window": 2, "threads": 1, **options}
    return [
        gs.Loader(datasets[rank // ranks], rank=rank, world_size=world, ranks_per_node=ranks, **options)
        for rank in range(world)
    ]


def epoch(ranks: list[gs.Loader], steps: int | None = None) -> list[list[str]]:
    """The keys that each rank gets; the ranks take turns, as in a training."""
    running = [iter(one) for one in ranks]
    found: list[list[str]] = [[] for _ in ranks]
    for _ in range(len(ranks[0]) if steps is None else steps):
        for given, batches in zip(found, running, strict=True):
            if (batch := next(batches, None)) is not None:
                given.extend(batch.keys)
    return found


def on_nodes(address: str, nodes: int, folder: Path, options: dict[str, Any]) -> list[gs.Dataset]:
    return [gs.open_dataset(address, cache_dir=folder / str(node), storage_options=options) for node in range(nodes)]


@pytest.mark.parametrize("ranks", [1, 2])
def test_three_nodes_read_each_byte_once(s3: S3Server, root: Path, tmp_path: Path, ranks: int) -> None:
    address = s3.upload(root, "nodes")
    everything = Counter(gs.open_dataset(root).table(["key"])["key"].to_pylist())
    with counted(s3.endpoint) as server:
        datasets = on_nodes(address, 3, tmp_path, {**s3.options, "endpoint": server.endpoint})
        running = loaders(datasets, ranks, keep_epochs=3, seed=5)
        first: list[set[str]] = []
        for _ in range(3):
            given = epoch(running)
            assert Counter(key for keys in given for key in keys) == everything
            by_node = [set().union(*map(set, given[node * ranks : (node + 1) * ranks])) for node in range(3)]
            first = first or by_node
            assert by_node == first
        sizes = {path.name: path.stat().st_size for path in root.rglob("*.tar")}
        read = {path.rpartition("/")[2]: size for path, size in server.shard_bytes().items()}
        assert read.keys() == sizes.keys()
        assert all(read[name] <= size for name, size in sizes.items())
        # What is not read lies between the parts of a shard that nodes divide.
        assert sum(read.values()) > 0.9 * sum(sizes.values())
        server.clear()
        moved = epoch(running)
        assert Counter(key for keys in moved for key in keys) == everything
        assert 0 < sum(server.shard_bytes().values()) < sum(sizes.values())


def test_a_node_is_lost_and_the_rest_of_the_epoch_is_given_by_others(s3: S3Server, root: Path, tmp_path: Path) -> None:
    address = s3.upload(root, "lost")
    everything = Counter(gs.open_dataset(root).table(["key"])["key"].to_pylist())
    for nodes in (1, 2, 4):
        before = loaders(on_nodes(address, 3, tmp_path / "three", s3.options))
        seen = [key for keys in epoch(before, steps=4) for key in keys]
        state = before[0].state_dict()
        assert all(one.state_dict() == state for one in before)
        assert state["shares"] == 3
        after = loaders(on_nodes(address, nodes, tmp_path / str(nodes), s3.options))
        for one in after:
            one.load_state_dict(state)
        seen += [key for keys in epoch(after) for key in keys]
        assert Counter(seen) == everything
        assert after[0].state_dict()["shares"] == nodes  # from the next epoch on


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_give_the_same(root: Path, workers: int) -> None:
    dataset = gs.open_dataset(root)
    (plain,), (source,) = loaders([dataset]), loaders([dataset])
    next(iter(source))
    state = source.state_dict()
    for one in (plain, source):
        one.load_state_dict(state)
    loading = DataLoader(source.as_iterable_dataset(), batch_size=None, num_workers=workers)
    for _ in range(2):
        assert [batch.keys for batch in loading] == [batch.keys for batch in plain]


def test_mixes_and_views(root: Path) -> None:
    datasets = [gs.open_dataset(root)] * 3
    for options in ({"mix": {"label": "equal"}, "epoch_size": 70}, {"views": "five"}):
        given = Counter(key for keys in epoch(loaders(datasets, **options)) for key in keys)
        full = gs.Loader(datasets[0], 4, crop=CROP, **options)
        assert given == Counter(key for batch in full for key in batch.keys)


def test_a_receipt_holds_the_nodes(root: Path) -> None:
    receipt = loaders([gs.open_dataset(root)] * 3, keep_epochs=2)[1].receipt(epochs=5)
    assert receipt["shares"] == 3
    assert differences(receipt, loader_of(receipt)) == []


def test_a_small_cache_and_none_are_told(
    s3: S3Server, root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    address = s3.upload(root, "told")
    next(iter(loaders([gs.open_dataset(address, storage_options=s3.options)])[0]))
    assert "keeps shards in a cache" in caplog.text
    small = gs.open_dataset(address, cache_dir=tmp_path, cache_size=100_000, storage_options=s3.options)
    assert sum(len(batch) for batch in loaders([small])[0]) == len(small)
    assert "share of" in caplog.text
    assert "larger than the whole cache" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shuffle": True, "keep_epochs": 2}, "keep_epochs=2 has no effect with shuffle=True"),
        ({"shuffle": "shards", "ranks_per_node": 2}, "ranks_per_node=2 has no effect"),
        ({"keep_epochs": 0}, "keep_epochs=0"),
        ({"ranks_per_node": 2, "rank": 0, "world_size": 3}, "3 ranks are no multiple of ranks_per_node=2"),
        ({"views": "whole"}, "has no effect with views"),
    ],
)
def test_options_that_make_no_sense(root: Path, options: dict[str, Any], message: str) -> None:
    crop = {} if "views" in options else {"crop": CROP}
    with pytest.raises(ValueError, match=message):
        gs.Loader(gs.open_dataset(root), **{"shuffle": "nodes", **crop, **options})


def test_pairs_are_refused(root: Path) -> None:
    dataset = gs.open_dataset(root)
    with pytest.raises(ValueError, match=r"pairs= beside shuffle=.nodes."):
        gs.Loader(dataset, crop=CROP, shuffle="nodes", pairs=dataset)


def test_a_state_without_shares_is_refused(root: Path) -> None:
    (loader,) = loaders([gs.open_dataset(root)])
    for shares in (None, 0, -1, 10**9, "3"):
        with pytest.raises(ValueError, match="shares"):
            loader.load_state_dict({**loader.state_dict(), "shares": shares})
