"""What a batch gives: the pair that published loops unpack, and places that join with the dataset's table."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

import genimage_stream as gs
from tests.fixtures.shards import make_dataset

CROP = 16


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> gs.Dataset:
    return gs.open_dataset(make_dataset(tmp_path_factory.mktemp("dataset"), 6))


def test_unpacks_like_a_pair(dataset: gs.Dataset) -> None:
    batch = next(iter(gs.Loader(dataset, 8, crop=CROP)))
    images, labels = batch
    assert images is batch.images is batch[0] is batch["images"]
    assert labels is batch.labels is batch[1] is batch[-1] is batch["labels"]
    assert len(batch) == 8
    assert isinstance(batch.keys, list)
    assert batch["keys"] == batch.keys
    with pytest.raises(IndexError):
        batch[2]
    with pytest.raises(KeyError, match="no 'image'; it has images"):
        batch["image"]
    as_dict = batch.as_dict()
    assert list(as_dict) == ["images", "labels", "generators", "subsets", "rows", "keys"]
    assert as_dict["subsets"] is batch.subsets
    again = pickle.loads(pickle.dumps(batch))
    assert torch.equal(again.subsets, batch.subsets)
    assert torch.equal(batch.to("cpu")[1], labels)


@pytest.mark.parametrize("shuffle", [True, "shards", False])
def test_rows_join_with_the_selections_table(dataset: gs.Dataset, shuffle: bool) -> None:
    """They were rows of the whole index while `table()` held the selection: the obvious join was wrong."""
    selection = dataset.select(generators=["sd14", "adm"], splits=["val"])
    table, whole = selection.table(), dataset.table()
    for batch in gs.Loader(selection, 5, crop=CROP, shuffle=shuffle):
        there = table.take(pa.array(batch.rows.numpy()))
        assert there["key"].to_pylist() == batch.keys
        assert [label == "fake" for label in there["label"].to_pylist()] == batch.labels.tolist()
        in_index = selection.index_rows[batch.rows.numpy()]
        assert whole.take(pa.array(in_index))["key"].to_pylist() == batch.keys


def test_subsets_tell_whose_reals_they_are(dataset: gs.Dataset) -> None:
    loader = gs.Loader(dataset.select(splits=["train"]), 8, crop=CROP)
    names = dict(zip(dataset.table()["key"].to_pylist(), dataset.table()["generator"].to_pylist(), strict=True))
    seen = set()
    for batch in loader:
        assert batch.subsets.dtype == torch.int64
        assert [dataset.generators[s] for s in batch.subsets.tolist()] == [names[key] for key in batch.keys]
        assert torch.equal(batch.generators, (batch.subsets + 1) * batch.labels)
        seen.update(batch.subsets[batch.labels == 0].tolist())
    assert seen == set(range(len(dataset.generators)))


def test_steps_count_from_the_epochs_beginning(dataset: gs.Dataset) -> None:
    loader = gs.Loader(dataset, 8, crop=CROP)
    running = iter(loader)
    steps = [next(running).step for _ in range(3)]
    resumed = gs.Loader(dataset, 8, crop=CROP)
    resumed.load_state_dict(loader.state_dict())
    steps += [batch.step for batch in resumed]
    assert steps == list(range(len(loader)))
    assert [batch.step for batch in resumed] == list(range(len(loader)))


def test_a_skipped_sample_is_left_out_of_every_column(tmp_path: Path) -> None:
    root = make_dataset(tmp_path, 6)
    dataset = gs.open_dataset(root)
    row = dataset.table(["key", "shard", "offset", "size"]).to_pylist()[3]
    with open(root / row["shard"], "r+b") as file:
        file.seek(row["offset"] + 20)
        file.write(bytes(row["size"] - 20))
    for batch in gs.Loader(dataset, 8, crop=CROP, on_error="skip"):
        assert {len(batch.as_dict()[name]) for name in batch.as_dict()} == {len(batch)}
        assert row["key"] not in batch.keys
        assert np.array_equal(dataset.table().take(pa.array(batch.rows.numpy()))["key"].to_pylist(), batch.keys)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"output": "float32"},
        {"output": "float16", "normalize": "half", "channels_last": True},
        {"output": "float32", "normalize": "none"},
        {"views": "five"},
        {"views": "center", "degrade": ["none", "jpeg:50"], "output": "float32", "normalize": "clip"},
    ],
)
def test_show_is_a_grid_of_the_pixels(dataset: gs.Dataset, options: dict[str, Any]) -> None:
    plain = {name: value for name, value in options.items() if name in ("views", "degrade")}
    (pixels,) = gs.Loader(dataset, 128, crop=48, shuffle=False, **plain)
    (batch,) = gs.Loader(dataset, 128, crop=48, shuffle=False, **options)
    shown = batch.show(5, columns=3)
    assert shown._repr_png_() == bytes(shown)
    sheet = np.asarray(Image.open(io.BytesIO(shown)))
    pictures = pixels.images.reshape(len(batch), -1, 3, 48, 48).numpy().transpose(0, 1, 3, 4, 2)
    width = max(96, 48 * pictures.shape[1]) + 6
    assert sheet.shape == (2 * (48 + 6 + 24), 3 * width, 3)
    for i in range(5):
        x, y = i % 3 * width, i // 3 * (48 + 6 + 24)
        assert tuple(sheet[y, x]) == ((194, 87, 26) if batch.labels[i] else (31, 111, 181))
        for number, picture in enumerate(pictures[i]):
            there = sheet[y + 3 : y + 51, x + 3 + 48 * number : x + 51 + 48 * number]
            assert np.array_equal(there, picture), (i, number)
        assert (sheet[y + 54 : y + 78, x : x + width] != 255).any()  # its label and key
    again = pickle.loads(pickle.dumps(batch))
    assert again.show(5, columns=3) == shown


def test_show_needs_images_and_whole_numbers(dataset: gs.Dataset) -> None:
    (batch,) = gs.Loader(dataset, 128, crop=48, shuffle=False)
    for wrong in (0, 1.5):
        with pytest.raises(ValueError, match="most="):
            batch.show(wrong)
    tensors = {name: batch[name][:0] for name in ("images", "labels", "generators", "subsets", "rows")}
    empty = gs.Batch(**tensors, keys=[], epoch=0, step=0)
    with pytest.raises(ValueError, match="the batch is empty"):
        empty.show()
