"""Looking at data: repr, single samples, tables, a map-style dataset."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

import genimage_stream as gs
from genimage_stream import transforms as T  # noqa: N812
from tests.fixtures.shards import make_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> gs.Dataset:
    return gs.open_dataset(make_dataset(tmp_path_factory.mktemp("dataset"), 4))


def test_repr_says_what_is_in_it(dataset: gs.Dataset) -> None:
    assert repr(dataset).endswith("48 samples: 24 fake, 24 real; adm, biggan, sd14; train, val)")
    val = dataset.select(splits=["val"], generators=["sd14"], labels=["fake"])
    assert repr(val) == f"Dataset({dataset.path!r}, 4 of 48 samples: 4 fake; sd14; val)"
    assert repr(dataset - dataset) == f"Dataset({dataset.path!r}, 0 of 48 samples)"


def test_a_sample_by_place_and_by_key(dataset: gs.Dataset) -> None:
    selection = dataset.select(splits=["val"], generators=["biggan", "sd14"])
    rows = selection.table().to_pylist()
    for i, facts in enumerate(rows):
        sample = selection[i]
        assert (sample.row, sample.key, sample.label, sample.generator) == (
            i,
            facts["key"],
            facts["label"],
            facts["generator"],
        )
        assert sample.facts == facts
        assert np.array_equal(sample.image, np.asarray(Image.open(io.BytesIO(sample.data)).convert("RGB")))
        assert sample.image.shape == (facts["height"], facts["width"], 3)
        assert selection[facts["key"]].row == i
        assert facts["key"] in selection
    assert selection[-1].key == rows[-1]["key"]
    assert selection[np.int64(2)].key == rows[2]["key"]
    assert [sample.key for sample in selection] == [facts["key"] for facts in rows]
    shown = Image.open(io.BytesIO(selection[0]._repr_png_()))
    assert np.array_equal(np.asarray(shown), selection[0].image)
    assert "image" not in repr(selection[0])


def test_samples_that_are_not_there(dataset: gs.Dataset) -> None:
    val = dataset.select(splits=["val"])
    for i in (24, -25):
        with pytest.raises(IndexError, match=f"there is no sample {i}: the dataset has 24"):
            val[i]
    with pytest.raises(KeyError, match="has no sample 'nothing'"):
        val["nothing"]
    elsewhere = dataset.select(splits=["train"])[3].key
    with pytest.raises(KeyError, match="but not in this selection of it"):
        val[elsewhere]
    assert elsewhere not in val
    assert 3 not in val
    for wrong in (1.5, slice(0, 2), None):
        with pytest.raises(TypeError, match="a whole number is needed"):
            val[wrong]  # type: ignore[index]


def test_a_dataframe(dataset: gs.Dataset) -> None:
    pytest.importorskip("pandas")
    val = dataset.select(splits=["val"])
    frame = val.to_pandas()
    assert len(frame) == len(val)
    assert frame["key"].tolist() == val.table(["key"])["key"].to_pylist()
    assert list(val.to_pandas(["label", "width"])) == ["label", "width"]
    assert frame.groupby("label", observed=True).size().to_dict() == {"fake": 12, "real": 12}


def test_without_pandas(dataset: gs.Dataset) -> None:
    program = f"""
import sys
sys.modules["pandas"] = None
import genimage_stream as gs
try:
    gs.open_dataset({dataset.path!r}).to_pandas()
except ImportError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pip install pandas" in result.stdout


def as_array(image: Image.Image) -> np.ndarray:
    return np.asarray(image.resize((8, 8)))


def test_a_map_style_dataset(dataset: gs.Dataset) -> None:
    val = dataset.select(splits=["val"])
    plain = val.as_map_style()
    assert len(plain) == len(val)
    for i in (0, 5, -1):
        image, label = plain[i]
        assert np.array_equal(image, val[i].image)
        assert label == (val[i].label == "fake")
    with pytest.raises(IndexError, match="there is no sample 24"):
        plain[24]
    by_pillow = val.as_map_style(as_array)
    assert np.array_equal(by_pillow[3][0], as_array(Image.fromarray(val[3].image)))
    again = pickle.loads(pickle.dumps(by_pillow))
    assert np.array_equal(again[3][0], by_pillow[3][0])
    seen = [label for _, labels in DataLoader(by_pillow, 5, num_workers=2) for label in labels.tolist()]
    assert seen == [int(sample.label == "fake") for sample in val]


def test_steps_draw_by_seed_epoch_and_image(dataset: gs.Dataset) -> None:
    steps = [T.OnlyIf(T.JPEG((30, 90)), label="fake"), T.RandomCrop(16, pad="tile")]
    pairs = dataset.as_map_style(steps, seed=3)
    for epoch in (0, 2):
        pairs.set_epoch(epoch)
        for i in range(0, len(dataset), 7):
            sample = dataset[i]
            expected = T.apply(sample.data, steps, seed=3, epoch=epoch, label=sample.label, generator=sample.generator)
            assert np.array_equal(pairs[i][0], expected)


@pytest.mark.parametrize("transform", ["univfd", 7, T.JPEG(65), [T.JPEG(65), as_array]])
def test_transforms_that_are_none(dataset: gs.Dataset, transform: object) -> None:
    with pytest.raises(ValueError, match="a function of a Pillow image, or a list of steps"):
        dataset.as_map_style(transform)  # type: ignore[arg-type]


def test_a_shard_that_is_gone(tmp_path: Path) -> None:
    dataset = gs.open_dataset(make_dataset(tmp_path, 2))
    (tmp_path / dataset[0].facts["shard"]).unlink()
    with pytest.raises(OSError, match=r"\.tar"):
        dataset[0]
