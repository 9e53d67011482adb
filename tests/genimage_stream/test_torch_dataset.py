"""Inside other people's loops: DataLoader with workers, StatefulDataLoader, pickling, torch.distributed."""

from __future__ import annotations

import pickle
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


def test_pickled_loaders_datasets_and_batches(dataset: gs.Dataset) -> None:
    loader = make_loader(dataset)
    expected = [seen(loader) for _ in range(3)]
    loader = make_loader(dataset)
    list(loader)
    assert seen(pickle.loads(pickle.dumps(loader))) == expected[1]
    copied = pickle.loads(pickle.dumps(dataset))
    assert copied.rows.tolist() == dataset.rows.tolist()
    assert copied.digest() == dataset.digest()
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
    loader = gs.Loader(dataset, 5, crop=CROP)
    assert loader.placement() == (0, 1)
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        assert loader.placement() == (0, 1)
        assert gs.Loader(dataset, 5, crop=CROP, rank=1, world_size=2).placement() == (1, 2)
    finally:
        torch.distributed.destroy_process_group()
