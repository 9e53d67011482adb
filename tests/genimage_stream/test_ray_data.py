"""`gs.ray_dataset`: the same samples and pixels in Ray's workers; its rows without Ray."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import genimage_stream as gs
from genimage_stream import transforms
from genimage_stream.dataset.map_style import MapStyle
from genimage_stream.ray_data import RowsOfPlaces
from tests.fixtures.shards import make_dataset

STEPS = [transforms.RandomCrop(16, pad="tile")]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> gs.Dataset:
    return gs.open_dataset(make_dataset(tmp_path_factory.mktemp("dataset"), 4)).select(splits=["train"])


def test_rows_are_the_samples(dataset: gs.Dataset) -> None:
    rows = RowsOfPlaces(pickle.dumps((dataset, MapStyle(dataset.access))))({"id": np.arange(len(dataset))})
    table = dataset.table(["key", "label", "generator"])
    assert rows["key"].tolist() == table["key"].to_pylist()
    assert rows["generator"].tolist() == table["generator"].to_pylist()
    assert [["real", "fake"][label] for label in rows["label"]] == table["label"].to_pylist()
    for place, image in enumerate(rows["image"]):
        assert (image == gs.decode(dataset.access.read(int(dataset.index_rows[place])))).all()


def test_what_is_no_dataset(dataset: gs.Dataset) -> None:
    with pytest.raises(TypeError, match="is no dataset"):
        gs.ray_dataset("shards")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="rows_per_task=0"):
        gs.ray_dataset(dataset, rows_per_task=0)


def test_without_ray(dataset: gs.Dataset) -> None:
    code = f"""
import sys
sys.modules["ray"] = None
import genimage_stream as gs
try:
    gs.ray_dataset(gs.open_dataset({dataset.path!r}))
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "gs.ray_dataset needs Ray Data" in done.stdout
    assert "pip install" in done.stdout


@pytest.mark.alone  # Ray starts by the free memory
def test_ray_gives_the_pixels_of_the_loader(dataset: gs.Dataset, tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    pytest.importorskip("ray.data")
    loader = gs.Loader(dataset, 8, transform=STEPS, seed=3)
    loader.set_epoch(2)
    expected = {
        key: image.permute(1, 2, 0).numpy()
        for batch in loader
        for key, image in zip(batch.keys, batch.images, strict=True)
    }
    ray.init(
        num_cpus=1, include_dashboard=False, logging_level="error", log_to_driver=False, object_store_memory=80 << 20
    )
    try:
        rows = gs.ray_dataset(dataset, STEPS, seed=3, epoch=2, rows_per_task=5).take_all()
    finally:
        ray.shutdown()
    assert {row["key"] for row in rows} == expected.keys()
    for row in rows:
        assert (row["image"] == expected[row["key"]]).all()
