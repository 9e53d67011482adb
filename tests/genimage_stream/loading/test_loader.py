"""The loader on local shards: what it yields, in which order, with which pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import genimage_stream as gs
from genimage_stream import transforms as T  # noqa: N812
from genimage_stream.loading.options import IMAGENET_MEAN, IMAGENET_STD
from tests.fixtures.shards import make_dataset

CROP = 48


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("dataset"))


@pytest.fixture(scope="module")
def dataset(root: Path) -> gs.Dataset:
    return gs.open_dataset(root)


def expected_image(dataset: gs.Dataset, row: int, epoch: int, position: Any) -> np.ndarray:
    """The plain way: the sample's bytes, a full decode, the canvas laid out, the window cut out."""
    table = dataset.table(["shard", "offset", "size", "sha256"]).slice(row, 1).to_pylist()[0]
    with (Path(dataset.path) / table["shard"]).open("rb") as file:
        file.seek(table["offset"])
        pixels = gs.decode(file.read(table["size"]))
    steps = [T.RandomCrop(CROP, pad="tile"), T.RandomHorizontalFlip()]
    crop, flip = T.draws_of(pixels, steps, seed=3, epoch=epoch, sha256=table["sha256"])
    x, y = crop["x"], crop["y"]
    if position == "center":
        x, y = (max(side - CROP, 0) // 2 for side in pixels.shape[1::-1])
    tiles = [-(-(at + CROP) // size) for at, size in zip((y, x), pixels.shape[:2], strict=True)]
    window = np.tile(pixels, (*tiles, 1))[y : y + CROP, x : x + CROP]
    if flip["applied"]:
        window = window[:, ::-1]
    return window.transpose(2, 0, 1)


@pytest.mark.parametrize("shuffle", [True, "shards", False])
def test_every_sample_once_with_its_pixels_and_labels(dataset: gs.Dataset, shuffle: bool | str) -> None:
    loader = gs.Loader(dataset, batch_size=7, crop=CROP, shuffle=shuffle, seed=3, threads=2, flip=True)
    table = dataset.table(["key", "generator", "label"]).to_pylist()
    position = "random" if shuffle else "center"
    for epoch in range(2):
        seen = []
        for step, batch in enumerate(loader):
            assert (batch.epoch, batch.step) == (epoch, step)
            assert batch.images.dtype == torch.uint8
            assert batch.labels.dtype == batch.generators.dtype == torch.int64
            for i, row in enumerate(batch.rows.tolist()):
                facts = table[row]
                assert batch.keys[i] == facts["key"]
                assert batch.labels[i] == (facts["label"] == "fake")
                fake = facts["label"] == "fake"
                assert batch.generators[i] == (1 + dataset.generators.index(facts["generator"]) if fake else 0)
                assert (batch.images[i].numpy() == expected_image(dataset, row, epoch, position)).all()
            seen += batch.rows.tolist()
        assert step + 1 == len(loader) == 21
        assert sorted(seen) == list(range(len(dataset)))
        assert (seen == sorted(seen)) == (shuffle is False)


def test_floats_are_normalised(dataset: gs.Dataset) -> None:
    whole = next(iter(gs.Loader(dataset, batch_size=9, crop=CROP)))
    mean = torch.tensor(IMAGENET_MEAN, dtype=torch.float64)[:, None, None]
    std = torch.tensor(IMAGENET_STD, dtype=torch.float64)[:, None, None]
    expected = ((whole.images.double() / 255 - mean) / std).float()
    for output, dtype, tolerance in (("float32", torch.float32, 1e-6), ("float16", torch.float16, 2e-3)):
        batch = next(iter(gs.Loader(dataset, batch_size=9, crop=CROP, output=output)))
        assert batch.keys == whole.keys
        assert batch.images.dtype == dtype
        assert (batch.images.float() - expected).abs().max() < tolerance


def test_kept_batches_stay_as_they_are(dataset: gs.Dataset) -> None:
    loader = gs.Loader(dataset, batch_size=4, crop=CROP, prefetch=2)
    kept = [(batch, batch.images.clone(), batch.images[:1]) for batch in loader]
    for _ in loader:
        pass
    assert all((batch.images == copy).all() and (part == copy[:1]).all() for batch, copy, part in kept)


def test_memory_is_used_again_when_nobody_holds_it(dataset: gs.Dataset) -> None:
    loader = gs.Loader(dataset, batch_size=4, crop=CROP, prefetch=2)
    places = {batch.images.data_ptr() for batch in loader}
    assert len(places) < len(loader) / 3
    fresh = gs.Loader(dataset, batch_size=4, crop=CROP, prefetch=2, copy=True)
    batches = list(fresh)
    assert len({batch.images.data_ptr() for batch in batches}) == len(batches)


def test_the_pixels_do_not_depend_on_the_selection(dataset: gs.Dataset) -> None:
    part = dataset.select(generators=["sd14"], splits=["val"])
    whole = {k: im for b in gs.Loader(dataset, crop=CROP, seed=5) for k, im in zip(b.keys, b.images, strict=True)}
    for batch in gs.Loader(part, crop=CROP, seed=5, batch_size=5):
        assert set(batch.generators.tolist()) <= {0, 3}  # codes are those of the whole dataset
        for key, image in zip(batch.keys, batch.images, strict=True):
            assert (image == whole[key]).all()


def test_threads_prefetch_and_output_memory_change_nothing(dataset: gs.Dataset) -> None:
    runs = []
    for options in ({"threads": 1, "prefetch": 1}, {"threads": 4, "prefetch": 9}, {"threads": 2, "copy": True}):
        loader = gs.Loader(dataset, batch_size=16, crop=CROP, seed=11, flip=True, **options)
        runs.append([(batch.keys, batch.images.clone()) for batch in loader])
    for run in runs[1:]:
        for (keys, images), (other_keys, other_images) in zip(runs[0], run, strict=True):
            assert keys == other_keys
            assert (images == other_images).all()


def test_seeds_and_epochs_differ(dataset: gs.Dataset) -> None:
    loader = gs.Loader(dataset, batch_size=64, crop=CROP, seed=0)
    first = [key for batch in loader for key in batch.keys]
    second = [key for batch in loader for key in batch.keys]
    other = [key for batch in gs.Loader(dataset, batch_size=64, crop=CROP, seed=1) for key in batch.keys]
    again = [key for batch in gs.Loader(dataset, batch_size=64, crop=CROP, seed=0) for key in batch.keys]
    assert first != second
    assert first != other
    assert first == again


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
@pytest.mark.parametrize("drop_last", [False, True])
def test_ranks_share_an_epoch(dataset: gs.Dataset, world_size: int, drop_last: bool) -> None:
    loaders = [
        gs.Loader(dataset, 6, crop=CROP, rank=rank, world_size=world_size, drop_last=drop_last)
        for rank in range(world_size)
    ]
    parts = [list(loader) for loader in loaders]
    assert {len(part) for part in parts} == {len(loaders[0])}
    keys = [key for part in parts for batch in part for key in batch.keys]
    assert len(set(keys)) == len(keys)
    assert len(keys) == (len(dataset) // (6 * world_size) * 6 * world_size if drop_last else len(dataset))
    one = list(gs.Loader(dataset, 6 * world_size, crop=CROP, drop_last=drop_last))
    for step, whole in enumerate(one):
        assert whole.keys == [key for part in parts for key in part[step].keys]
        assert (whole.images == torch.cat([part[step].images for part in parts])).all()


def test_the_last_two_steps_share_what_would_leave_ranks_empty(
    dataset: gs.Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    """A mean over an empty batch is NaN, which ended trainings by EarlyStopping."""
    part = dataset.first(49, per=())  # 6 * 8 + 1

    def sizes(batch_size: int, world_size: int, state: dict[str, Any] | None = None) -> list[list[int]]:
        found = []
        for rank in range(world_size):
            loader = gs.Loader(part, batch_size, crop=8, threads=1, rank=rank, world_size=world_size)
            if state is not None:
                loader.load_state_dict(state)
            found.append([len(batch) for batch in loader])
        return found

    assert sizes(2, 4) == [[2] * 5 + [1, 1], [2] * 5 + [1, 1], [2] * 5 + [1, 1], [2] * 5 + [2, 1]]
    assert caplog.messages == []
    loader = gs.Loader(part, 2, crop=8, threads=1, rank=3, world_size=4)
    for number, _ in enumerate(loader, 1):
        if number == 6:
            break
    assert sizes(2, 4, loader.state_dict()) == [[1]] * 4
    assert sizes(2, 5, loader.state_dict()) == [[0], [1], [1], [1], [1]]
    assert caplog.messages[0].startswith("the last batch of an epoch is empty on 1 of 5 ranks: 4 samples are left")
    assert sizes(1, 2) == [[1] * 24 + [0], [1] * 25]
    assert "batch_size=2 or more" in caplog.messages[-1]
    with pytest.raises(
        ValueError, match="an epoch of 49 samples on 50 ranks leaves ranks without any: use fewer ranks"
    ):
        gs.Loader(part, 2, rank=0, world_size=50)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size=0"),
        ({"crop": 0}, "crop=0"),
        ({"crop": (10, -1)}, "crop=-1"),
        ({"shuffle": "some"}, "shuffle='some'"),
        ({"seed": -1}, "seed -1"),
        ({"output": "float64"}, "output='float64'"),
        ({"small": "pad"}, "small='pad'"),
        ({"on_error": "ignore"}, "on_error='ignore'"),
        ({"crop_position": "left"}, "crop_position='left'"),
        ({"threads": 0}, "threads=0"),
        ({"prefetch": 0}, "prefetch=0"),
        ({"window": 0}, "window=0"),
        ({"rank": 1}, "rank and world_size"),
        ({"rank": 2, "world_size": 2}, "rank=2"),
        ({"rank": -1, "world_size": 2}, "rank=-1"),
        ({"rank": "0", "world_size": 2}, "rank='0'"),
        ({"rank": 0, "world_size": 2.0}, "world_size=2.0"),
        ({"crop": 32.0}, "crop=32.0"),
        ({"crop": (32,)}, r"crop=\(32,\)"),
        ({"crop": "32"}, "crop='32'"),
        ({"batch_size": "8"}, "batch_size='8'"),
        ({"batch_size": 8.0}, "batch_size=8.0"),
        ({"batch_size": True}, "batch_size=True"),
        ({"prefetch": 1.5}, "prefetch=1.5"),
        ({"window": 1.5}, "window=1.5"),
        ({"threads": 1.5}, "threads=1.5"),
        ({"seed": 1.5}, "seed=1.5"),
        ({"seed": None}, "seed=None"),
        ({"max_errors": -1}, "max_errors=-1"),
        ({"drop_last": "no"}, "drop_last='no'"),
        ({"flip": None}, "flip=None"),
        ({"drop_last": True, "batch_size": 1000}, "batch_size=1000 on 1 ranks"),
        ({"drop_last": True, "batch_size": 60, "rank": 0, "world_size": 3}, "takes 180 samples"),
    ],
)
def test_senseless_options(dataset: gs.Dataset, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gs.Loader(dataset, **options)  # type: ignore[arg-type]


def test_numpy_numbers_are_numbers(dataset: gs.Dataset) -> None:
    plain = gs.Loader(dataset, 8, crop=CROP, seed=3)
    numpy = gs.Loader(dataset, np.int64(8), crop=np.int32(CROP), seed=np.uint64(3))  # type: ignore[arg-type]
    assert json.dumps(numpy.state_dict()) == json.dumps(plain.state_dict())
    assert [batch.keys for batch in numpy] == [batch.keys for batch in plain]


@pytest.mark.parametrize("other", ["/data/shards", [1, 2], None])
def test_what_is_no_dataset(other: Any) -> None:
    with pytest.raises(TypeError, match="open_dataset"):
        gs.Loader(other)


def test_ranks_that_come_later_may_leave_no_step(dataset: gs.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = gs.Loader(dataset, 40, crop=CROP, drop_last=True)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 0)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 4)
    with pytest.raises(ValueError, match="on 4 ranks"):
        list(loader)


@pytest.mark.parametrize("epoch", [-1, 1 << 33, 1.0])
def test_epochs_that_are_none(dataset: gs.Dataset, epoch: Any) -> None:
    loader = gs.Loader(dataset, 8, crop=CROP)
    for one in (loader, loader.as_iterable_dataset()):
        with pytest.raises(ValueError, match="epoch="):
            one.set_epoch(epoch)


def test_an_empty_selection_is_an_error(dataset: gs.Dataset) -> None:
    nothing = dataset.select(generators=["adm"]) & dataset.select(generators=["sd14"])
    with pytest.raises(ValueError, match="empty"):
        gs.Loader(nothing)
