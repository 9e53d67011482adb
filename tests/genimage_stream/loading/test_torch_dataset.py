"""Inside other people's loops: DataLoader with workers, StatefulDataLoader, pickling, torch.distributed."""

from __future__ import annotations

import copy
import pickle
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

import genimage_stream as gs
from tests.fixtures.shards import make_dataset

CROP = 16


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> gs.Dataset:
    return gs.open_dataset(make_dataset(tmp_path_factory.mktemp("dataset"), 6)).select(splits=["train"])


def make_loader(dataset: gs.Dataset) -> gs.Loader:
    return gs.Loader(dataset, 5, crop=CROP, seed=2, flip=True, rank=1, world_size=2)  # 36 samples: 4 steps of 2 ranks


def seen(batches: Any) -> list[tuple[list[str], bytes]]:
    return [(batch.keys, batch.images.numpy().tobytes()) for batch in batches]


@pytest.mark.parametrize(
    "options",
    [
        {"num_workers": 0},
        {"num_workers": 2, "persistent_workers": True},
        {"num_workers": 2},
        {"num_workers": 1, "multiprocessing_context": "spawn", "persistent_workers": True},
    ],
)
def test_dataloader_gives_the_same_epochs(dataset: gs.Dataset, options: dict[str, Any]) -> None:
    loader = make_loader(dataset)
    expected = [seen(loader) for _ in range(2)]
    assert len(expected[0]) == 4
    around = DataLoader(make_loader(dataset).as_iterable_dataset(), batch_size=None, **options)
    assert len(around) == 4
    assert [seen(around) for _ in range(2)] == expected


def test_set_epoch_and_a_start_in_the_middle(dataset: gs.Dataset) -> None:
    loader = make_loader(dataset)
    expected = [seen(loader) for _ in range(3)]
    stream = make_loader(dataset).as_iterable_dataset()
    stream.set_epoch(2)
    assert seen(DataLoader(stream, batch_size=None)) == expected[2]
    with pytest.raises(ValueError, match="epoch=-1"):
        stream.set_epoch(-1)
    running = iter(loader := make_loader(dataset))
    next(running)
    state = loader.state_dict()
    resumed = make_loader(dataset)
    resumed.load_state_dict(state)
    around = DataLoader(resumed.as_iterable_dataset(), batch_size=None, num_workers=2, persistent_workers=True)
    assert seen(around) == expected[0][1:]
    assert seen(around) == expected[1]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop", [0, 1, 3, 4, 6])
def test_stateful_dataloader(dataset: gs.Dataset, workers: int, stop: int) -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader
    loader = make_loader(dataset)
    expected = [batch for _ in range(3) for batch in seen(loader)]
    around = stateful(make_loader(dataset).as_iterable_dataset(), batch_size=None, num_workers=workers)
    before: list[Any] = []
    state = around.state_dict()
    while len(before) < stop:
        for batch in around:
            before += seen([batch])
            if len(before) == stop:
                break
    state = around.state_dict()
    again = stateful(make_loader(dataset).as_iterable_dataset(), batch_size=None, num_workers=workers)
    again.load_state_dict(state)
    after: list[Any] = []
    while len(before) + len(after) < len(expected):
        after += seen(again)
    assert before + after == expected


def test_stateful_dataloader_of_another_run(dataset: gs.Dataset) -> None:
    stream = make_loader(dataset).as_iterable_dataset()
    running = iter(stream)
    next(running)
    other = iter(gs.Loader(dataset, 5, crop=CROP, seed=3, rank=1, world_size=2).as_iterable_dataset())
    with pytest.raises(ValueError, match="another run"):
        other.load_state_dict(running.state_dict())


def rows(batches: Any) -> list[int]:
    return [row for batch in batches for row in batch.rows.tolist()]


@pytest.mark.parametrize(("world_size", "batch_size"), [(1, 4), (2, 4), (3, 5), (1, 8), (2, 1), (1, 36), (2, 40)])
@pytest.mark.parametrize("stop", [0, 1, 4, 5])
@pytest.mark.parametrize("drop_last", [False, True])
def test_stateful_dataloader_of_another_world_and_batch_size(
    dataset: gs.Dataset, world_size: int, batch_size: int, stop: int, drop_last: bool
) -> None:
    """Both were once missing from the state: the batches given were counted in those of the new run."""
    stateful = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader

    def around(rank: int, world_size: int, batch_size: int, drop_last: bool) -> Any:
        loader = gs.Loader(dataset, batch_size, crop=CROP, rank=rank, world_size=world_size, drop_last=drop_last)
        return stateful(loader.as_iterable_dataset(), batch_size=None, num_workers=0)

    order = rows(gs.Loader(dataset, crop=CROP))  # 36 samples, here in steps of 8
    before: list[int] = []
    for rank in range(2):
        running = iter(one := around(rank, 2, 4, drop_last))
        before += rows(next(running) for _ in range(min(stop, 5 - drop_last)))
        state = one.state_dict()
    after: list[int] = []
    for rank in range(world_size):
        again = around(rank, world_size, batch_size, False)
        again.load_state_dict(state)
        after += rows(again)
    assert sorted(before) == sorted(order[: len(before)])
    assert sorted(after) == sorted(order[len(before) :])


@pytest.mark.parametrize("change", [{"batch_size": 6}, {"world_size": 3}, {"drop_last": True}])
def test_stateful_dataloader_with_workers_and_other_batches(dataset: gs.Dataset, change: dict[str, Any]) -> None:
    """What all workers gave together, no worker can tell: an error rather than samples lost."""
    stateful = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader
    options: dict[str, Any] = {"batch_size": 5, "crop": CROP, "rank": 0, "world_size": 2}
    one = stateful(gs.Loader(dataset, **options).as_iterable_dataset(), batch_size=None, num_workers=2)
    running = iter(one)
    before = rows([next(running)])
    state = one.state_dict()
    del running
    again = stateful(gs.Loader(dataset, **options | change).as_iterable_dataset(), batch_size=None, num_workers=2)
    again.load_state_dict(state)
    if "drop_last" in change:  # no other steps but the last
        assert before + rows(again) == rows(gs.Loader(dataset, **options))[:15]
    else:
        with pytest.raises(ValueError, match=rf"{next(iter(change))}: \d, here \d.*loader\.load_state_dict"):
            list(again)


def test_states_that_are_none(dataset: gs.Dataset) -> None:
    with pytest.raises(ValueError, match="has no start, given, workers"):
        iter(make_loader(dataset).as_iterable_dataset()).load_state_dict(make_loader(dataset).state_dict())


@pytest.mark.parametrize("counts", [(0, 2), (2, 0, 1), (1, 3)])
def test_the_number_of_workers_changes_between_passes(dataset: gs.Dataset, counts: tuple[int, ...]) -> None:
    """Each worker once counted epochs of its own: new ones began with the first."""
    loader = make_loader(dataset)
    expected = [seen(loader) for _ in counts]
    stream = make_loader(dataset).as_iterable_dataset()
    assert [seen(DataLoader(stream, batch_size=None, num_workers=n)) for n in counts] == expected


def sleep_in_the_second(worker: int) -> None:
    time.sleep(worker)


def test_a_pass_broken_while_a_worker_starts(dataset: gs.Dataset) -> None:
    loader = make_loader(dataset)
    expected = [seen(loader) for _ in range(2)]
    stream = make_loader(dataset).as_iterable_dataset()
    around = DataLoader(stream, batch_size=None, num_workers=2, worker_init_fn=sleep_in_the_second)
    assert seen([next(iter(around))]) == expected[0][:1]
    assert seen(around) == expected[1]


def test_the_rest_of_an_epoch_is_given_once(dataset: gs.Dataset) -> None:
    loader = make_loader(dataset)
    expected = seen(loader)
    running = iter(loader := make_loader(dataset))
    next(running)
    loader.load_state_dict(loader.state_dict())
    stream = loader.as_iterable_dataset()
    around = DataLoader(stream, batch_size=None)
    stream.set_epoch(0)  # as trainers do before every epoch: the place inside it stays
    assert seen(around) == expected[1:]
    stream.set_epoch(0)
    assert seen(around) == expected


def test_a_state_loaded_where_it_was_taken(dataset: gs.Dataset) -> None:
    """It brings the workers' seed along, by which they know which pass they belong to."""
    stateful = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader
    loader = make_loader(dataset)
    expected = [seen(loader) for _ in range(4)]
    stream = make_loader(dataset).as_iterable_dataset()
    options: dict[str, Any] = {"batch_size": None, "num_workers": 2, "persistent_workers": True}
    around = stateful(stream, **options)
    assert [seen(around), seen(around)] == expected[:2]
    running = iter(around)
    assert seen(next(running) for _ in range(3)) == expected[2][:3]
    state = around.state_dict()
    again = stateful(stream, **options)
    again.load_state_dict(state)
    assert [seen(again), seen(again)] == [expected[2][3:], expected[3]]


def test_copies_count_their_own_epochs(dataset: gs.Dataset) -> None:
    loader = make_loader(dataset)
    expected = [seen(loader) for _ in range(2)]
    stream = make_loader(dataset).as_iterable_dataset()
    copies = [copy.deepcopy(stream), pickle.loads(pickle.dumps(stream))]
    assert [seen(stream), seen(stream)] == expected
    assert [seen(one) for one in copies] == [expected[0]] * 2


@pytest.mark.parametrize("options", [{}, {"num_workers": 2}, {"num_workers": 1, "multiprocessing_context": "spawn"}])
def test_a_process_group_that_comes_later(
    dataset: gs.Dataset, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    """A dataset made before init_process_group was once that of rank 0 of 1 for good."""
    expected = seen(make_loader(dataset))
    stream = gs.Loader(dataset, 5, crop=CROP, seed=2, flip=True).as_iterable_dataset()
    assert len(stream) == 8
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    around = DataLoader(stream, batch_size=None, **options)
    assert len(around) == 4
    assert seen(around) == expected


def test_pickled_loaders_datasets_and_batches(dataset: gs.Dataset) -> None:
    loader = make_loader(dataset)
    expected = [seen(loader) for _ in range(3)]
    loader = make_loader(dataset)
    list(loader)
    assert seen(pickle.loads(pickle.dumps(loader))) == expected[1]
    copied = pickle.loads(pickle.dumps(dataset))
    assert copied.index_rows.tolist() == dataset.index_rows.tolist()
    assert copied.access.digest() == dataset.access.digest()
    batch = next(iter(make_loader(dataset)))
    again = pickle.loads(pickle.dumps(batch))
    assert (again.keys, again.epoch, again.step) == (batch.keys, batch.epoch, batch.step)
    for name in ("images", "labels", "generators", "rows"):
        assert (getattr(again, name) == getattr(batch, name)).all()


def test_batches_move_between_devices(dataset: gs.Dataset) -> None:
    batch = next(iter(make_loader(dataset)))
    moved = batch.to("meta", non_blocking=True)
    assert moved.images.device.type == moved.labels.device.type == "meta"
    assert moved.keys == batch.keys
    assert len(moved) == len(batch) == 5
    assert repr(batch) == "Batch(5 x 3 x 16 x 16 torch.uint8, epoch 0, step 0)"


def test_rank_and_world_size_come_from_the_process_group(dataset: gs.Dataset, tmp_path: Path) -> None:
    expected = [seen(gs.Loader(dataset, 5, crop=CROP, rank=rank, world_size=2)) for rank in range(2)]
    alone = seen(gs.Loader(dataset, 5, crop=CROP))
    loader = gs.Loader(dataset, 5, crop=CROP)
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        assert seen(loader) == alone
        assert seen(gs.Loader(dataset, 5, crop=CROP, rank=1, world_size=2)) == expected[1]
    finally:
        torch.distributed.destroy_process_group()
