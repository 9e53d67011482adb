"""Stopping and going on: the rest of an epoch, exactly, with whatever world size comes next."""

from __future__ import annotations

import copy
import json
import pickle
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import genimage_stream as gs
from tests.fixtures.shards import make_dataset

CROP = 16


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> gs.Dataset:
    return gs.open_dataset(make_dataset(tmp_path_factory.mktemp("dataset"), 4))


MIXES: list[Any] = [
    None,
    {"label": "equal"},
    {"generator": {"adm": 1, "biggan": 2.5, "sd14": 0.5}, "label": "equal"},
    {"label": {"real": 1, "fake": 3}},
    {"generator": 3.0},
    {"class_index": "equal"},
]
SELECTIONS: list[Callable[[gs.Dataset], gs.Dataset]] = [
    lambda d: d,
    lambda d: d.select(splits=["train"]),
    lambda d: d.select(labels=["real"]) | d.select(labels=["fake"]).sample(9),
    lambda d: d.first(1),
]


def run(loader: gs.Loader, steps: int | None = None) -> list[tuple[str, bytes]]:
    """(key, pixels) of up to `steps` batches."""
    seen: list[tuple[str, bytes]] = []
    if steps == 0:
        return seen
    for number, batch in enumerate(loader, 1):
        seen += zip(batch.keys, (image.numpy().tobytes() for image in batch.images), strict=True)
        if number == steps:
            break
    return seen


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_interruption_any_world_size(dataset: gs.Dataset, data: st.DataObject) -> None:
    shuffle = data.draw(st.sampled_from([True, "shards", "nodes", False]))
    seed = data.draw(st.integers(0, 2**64 - 1))
    window = 2 if shuffle in ("shards", "nodes") else None
    options: dict[str, Any] = {"crop": CROP, "shuffle": shuffle, "seed": seed, "threads": 2, "window": window}
    if shuffle == "nodes":
        options["keep_epochs"] = 2
    if mix := data.draw(st.sampled_from(MIXES)):
        options |= {"mix": mix, "epoch_size": data.draw(st.sampled_from(["all", "min", "max", 7, 130]))}
    dataset = data.draw(st.sampled_from(SELECTIONS))(dataset)
    epoch = data.draw(st.integers(0, 3))  # with a mix each takes up where the one before stopped
    straight = gs.Loader(dataset, 48, **options)
    straight.set_epoch(epoch)
    expected = run(straight)
    samples = len(gs.Loader(dataset, 1, **options))
    state: dict[str, Any] | None = None
    seen: list[tuple[str, bytes]] = []
    for part in range(3):
        world_size, batch_size = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 20))
        steps = data.draw(st.integers(0, 4)) if part < 2 else None
        states = []
        if shuffle == "nodes":
            options["ranks_per_node"] = ranks = data.draw(st.integers(1, 2))
            world_size = min(ranks * world_size, samples // ranks * ranks)  # more ranks than samples are refused
        for rank in range(world_size):
            loader = gs.Loader(
                dataset,
                batch_size,
                rank=rank,
                world_size=world_size,
                prefetch=data.draw(st.integers(1, 4)),
                **options,
            )
            loader.set_epoch(epoch)
            if state is not None:
                loader.load_state_dict(json.loads(json.dumps(state)))
            if state is None or state["epoch"] == epoch:
                seen += run(loader, steps)
            states.append(loader.state_dict())
        assert all(other == states[0] for other in states)
        state = states[0]
    assert len(expected) == samples
    assert Counter(seen) == Counter(expected)  # a sample that comes twice has two windows


def test_state_is_small_plain_and_of_what_was_received(dataset: gs.Dataset) -> None:
    loader = gs.Loader(dataset, 5, crop=CROP, prefetch=6)
    assert (loader.state_dict()["epoch"], loader.state_dict()["position"]) == (0, 0)
    for number, _ in enumerate(loader, 1):
        assert loader.state_dict()["position"] == min(5 * number, len(dataset))
        assert len(json.dumps(loader.state_dict())) < 500
    assert (loader.state_dict()["epoch"], loader.state_dict()["position"]) == (1, 0)


def test_state_after_a_break_and_in_later_epochs(dataset: gs.Dataset) -> None:
    options: dict[str, Any] = {"crop": CROP, "seed": 3}
    straight = gs.Loader(dataset, 10, **options)
    epochs = [run(straight) for _ in range(3)]
    loader = gs.Loader(dataset, 10, **options)
    run(loader)
    assert run(loader, 2) == epochs[1][:20]
    state = loader.state_dict()
    assert run(loader) == epochs[2]  # after a break the next `for` is the next epoch
    loader.load_state_dict(state)
    assert loader.epoch == 1
    assert run(loader) == epochs[1][20:]
    assert run(loader) == epochs[2]


def test_state_at_the_last_batch_leaves_an_empty_rest(dataset: gs.Dataset) -> None:
    loader = gs.Loader(dataset, 10, crop=CROP)
    run(loader, len(loader))
    state = loader.state_dict()
    other = gs.Loader(dataset, 10, crop=CROP)
    other.load_state_dict(state)
    assert run(other) == []
    assert len(run(other)) == len(dataset)
    assert other.state_dict()["epoch"] == 2


def test_loading_a_state_does_not_touch_the_epoch_under_way(dataset: gs.Dataset) -> None:
    loader = gs.Loader(dataset, 10, crop=CROP)
    running = iter(loader)
    next(running)
    state = loader.state_dict()
    next(running)
    loader.load_state_dict(state)
    next(running)
    assert loader.state_dict() == state


def test_states_survive_json_pickle_and_torch(dataset: gs.Dataset, tmp_path: Path) -> None:
    loader = gs.Loader(dataset, 10, crop=CROP, mix={"generator": {"adm": 1, "biggan": 2, "sd14": 3}, "label": "equal"})
    next(iter(loader))
    state = loader.state_dict()
    torch.save(state, tmp_path / "state.pt")
    for copied in (
        json.loads(json.dumps(state)),
        pickle.loads(pickle.dumps(state)),
        torch.load(tmp_path / "state.pt", weights_only=True),
    ):
        loader.load_state_dict(copied)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 0}, "version 0"),
        ({"seed": 9}, "seed: 9, here 0"),
        ({"shuffle": "shards"}, "shuffle: 'shards'"),
        ({"dataset": "0"}, "dataset: '0'"),
        ({"position": 10**6}, "position 1000000"),
        ({"position": -1}, "position -1"),
        ({"epoch": -1}, "epoch -1"),
        ({"mix": [["label", "equal"]]}, "mix"),
        ({"position": "x"}, "position='x'"),
        ({"epoch": 1 << 33}, "does not exist"),
    ],
)
def test_states_of_other_runs(dataset: gs.Dataset, change: dict[str, Any], message: str) -> None:
    loader = gs.Loader(dataset, 10, crop=CROP)
    state = copy.deepcopy(loader.state_dict()) | change
    with pytest.raises(ValueError, match=message):
        loader.load_state_dict(state)


@pytest.mark.parametrize("name", ["version", "epoch", "position"])
def test_states_that_are_none(dataset: gs.Dataset, name: str) -> None:
    loader = gs.Loader(dataset, 10, crop=CROP)
    state = loader.state_dict()
    del state[name]
    with pytest.raises(ValueError, match=f"has no {name}"):
        loader.load_state_dict(state)
    with pytest.raises(ValueError, match="state None"):
        loader.load_state_dict(None)  # type: ignore[arg-type]


def test_states_with_a_thousand_weights_are_small(dataset: gs.Dataset) -> None:
    weights = {number: 1.0 + number for number in range(1000)}
    loader = gs.Loader(dataset, 10, crop=CROP, mix={"class_index": weights})
    state = json.loads(json.dumps(loader.state_dict()))
    assert len(json.dumps(state)) < 500
    loader.load_state_dict(state)
    other = gs.Loader(dataset, 10, crop=CROP, mix={"class_index": weights | {0: 2.0}})
    with pytest.raises(ValueError, match="mix: 'blake2b:"):
        other.load_state_dict(state)


def test_state_of_another_selection(dataset: gs.Dataset) -> None:
    state = gs.Loader(dataset.select(splits=["train"]), crop=CROP).state_dict()
    with pytest.raises(ValueError, match="dataset"):
        gs.Loader(dataset.select(splits=["val"]), crop=CROP).load_state_dict(state)


def test_only_taking_a_batch_begins_an_epoch(dataset: gs.Dataset) -> None:
    """Trainers call `iter` to see whether it works; that must not cost an epoch, or the rest of a resumed one."""
    straight = gs.Loader(dataset, 10, crop=CROP)
    epochs = [run(straight) for _ in range(2)]
    loader = gs.Loader(dataset, 10, crop=CROP)
    iter(loader)
    assert run(loader, 3) == epochs[0][:30]
    state = loader.state_dict()
    iter(loader)
    assert loader.state_dict() == state
    resumed = gs.Loader(dataset, 10, crop=CROP)
    resumed.load_state_dict(state)
    unused = iter(resumed)
    assert resumed.state_dict() == state
    assert run(resumed) == epochs[0][30:]
    assert run(resumed) == epochs[1]
    unused.close()
    with pytest.raises(StopIteration):
        next(unused)


def test_set_epoch(dataset: gs.Dataset) -> None:
    straight = gs.Loader(dataset, 10, crop=CROP)
    epochs = [run(straight) for _ in range(3)]
    loader = gs.Loader(dataset, 10, crop=CROP)
    loader.set_epoch(2)
    assert run(loader) == epochs[2]
    loader.set_epoch(1)
    assert run(loader, 3) == epochs[1][:30]
    state = loader.state_dict()
    resumed = gs.Loader(dataset, 10, crop=CROP)
    resumed.load_state_dict(state)
    resumed.set_epoch(1)  # as trainers do before every epoch: the place inside it stays
    assert run(resumed) == epochs[1][30:]
    with pytest.raises(ValueError, match="epoch=-1"):
        loader.set_epoch(-1)


@pytest.mark.parametrize("way", [copy.deepcopy, lambda loader: pickle.loads(pickle.dumps(loader))])
@pytest.mark.parametrize("taken", [0, 1, 3])
def test_a_copy_goes_on_where_the_consumer_is(dataset: gs.Dataset, way: Callable[[Any], Any], taken: int) -> None:
    loader = gs.Loader(dataset, 10, crop=CROP, prefetch=4)
    expected = run(gs.Loader(dataset, 10, crop=CROP))
    running = iter(loader)
    for _ in range(taken):
        next(running)
    copied = way(loader)
    assert copied.state_dict() == loader.state_dict()
    assert run(copied) == expected[10 * taken :]
    assert copied.epoch == 1
    assert run(way(copied))[:1] != expected[:1]


@pytest.mark.parametrize("workers", [0, 1])
def test_the_state_of_a_loader_behind_a_dataloader_is_an_error(dataset: gs.Dataset, workers: int) -> None:
    """It stayed at the beginning, so a resumed run began anew."""
    loader = gs.Loader(dataset, 10, crop=CROP)
    around = torch.utils.data.DataLoader(loader.as_iterable_dataset(), batch_size=None, num_workers=workers)
    assert loader.state_dict()["position"] == 0
    next(iter(around))
    with pytest.raises(RuntimeError, match="StatefulDataLoader"):
        loader.state_dict()


def test_a_default_device_changes_nothing(dataset: gs.Dataset) -> None:
    """Everything that the loader makes in host memory was made there, as by torch.set_default_device("cuda")."""
    expected = run(gs.Loader(dataset, 10, crop=CROP))
    torch.set_default_device("meta")
    try:
        for options in ({}, {"copy": True}, {"output": "float32"}):
            loader = gs.Loader(dataset, 10, crop=CROP, **options)  # type: ignore[arg-type]
            batches = list(loader)
            assert {batch[name].device.type for batch in batches for name in ("images", "labels", "rows")} == {"cpu"}
            if "output" not in options:
                assert run(gs.Loader(dataset, 10, crop=CROP, **options)) == expected  # type: ignore[arg-type]
        stream = gs.Loader(
            dataset, 10, crop=CROP
        ).as_iterable_dataset()  # torch's DataLoader itself needs a real device
        assert [key for batch in stream for key in batch.keys] == [key for key, _ in expected]
        stream.set_epoch(0)
        assert [key for batch in stream for key in batch.keys] == [key for key, _ in expected]
    finally:
        torch.set_default_device(None)
