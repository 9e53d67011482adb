"""`gs.unbiased`: which images it keeps and why not the others, and a loader, receipts and copies with its steps."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.utils.data import DataLoader

import genimage_stream as gs
from genimage_stream import transforms as T  # noqa: N812
from genimage_stream.loading.replay import differences, loader_of
from tests.fixtures.shards import edit_index, make_dataset


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64x64 fakes of adm, 96x80 of sd14; reals of 70..78 x 66..70, quality 96; 4 classes."""
    return make_dataset(tmp_path_factory.mktemp("dataset"), 12, generators=("adm", "sd14"))


@pytest.fixture
def dataset(root: Path) -> gs.Dataset:
    return gs.open_dataset(root)


def make(dataset: gs.Dataset, **options: Any) -> Any:
    train = dataset.select(generators=["adm"], splits=["train"])
    return gs.unbiased(train, reals_from=dataset, size=(60, 100), **options)


def classes(dataset: gs.Dataset, label: str) -> Counter[int]:
    return Counter(dataset.select(labels=[label]).table(["class_index"])["class_index"].to_pylist())


def test_as_many_reals_as_fakes_of_each_class_from_all_subsets_of_the_split(dataset: gs.Dataset) -> None:
    train = dataset.select(generators=["adm"], splits=["train"])
    fewer = train.select(labels=["fake"]) - train.select(labels=["fake"], classes=[3]).first(2)
    u = gs.unbiased(fewer, reals_from=dataset, size=60)
    assert classes(u, "fake") == classes(u, "real") == {0: 3, 1: 3, 2: 3, 3: 1}
    reals = u.select(labels=["real"]).table(["generator", "split"]).to_pylist()
    assert {row["split"] for row in reals} == {"train"}
    assert {row["generator"] for row in reals} == {"adm", "sd14"}
    report = u.report()
    assert report["kept"] == {"real": 10, "fake": 10}
    assert report["dropped"] == {
        "real": {"of a split without fakes here": 24, "more than of the other label in its class": 14},
        "fake": {},
    }
    assert (report["crop"], report["size"], report["quality"]) == (45, [60, None], [None, None])
    assert sum(group["kept"] for group in report["groups"]) == 20
    json.dumps(report)
    own = gs.unbiased(train, size=60)
    assert {row["generator"] for row in own.table(["generator"]).to_pylist()} == {"adm"}


def test_the_choice_is_by_content_and_seed(dataset: gs.Dataset) -> None:
    assert make(dataset).access.digest() == make(dataset).access.digest()
    assert set(make(dataset).index_rows) != set(make(dataset, seed=1).index_rows)
    assert len(make(dataset, per_class=False)) == 24


def with_oddities(table: pa.Table) -> pa.Table:
    """Of adm's train: reals of other qualities, modes, formats, chroma, classes and with equal bytes; odd fakes."""
    rows = table.to_pylist()
    mine = [row for row in rows if (row["generator"], row["split"]) == ("adm", "train")]
    reals, fakes = ([row for row in mine if row["label"] == label] for label in ("real", "fake"))
    reals[0]["mode"], reals[1]["jpeg_quality"], reals[2]["jpeg_quality"] = "L", None, 50
    reals[3]["format"], reals[4]["chroma"], reals[5]["width"] = "png", "other", 40
    reals[6]["sha256"] = reals[7]["sha256"]
    reals[8]["class_index"] = None
    fakes[0]["mode"], fakes[1]["format"], fakes[2]["height"] = "P", "webp", 200
    return pa.Table.from_pylist(rows, table.schema)


def test_every_reason_is_counted_once(tmp_path: Path) -> None:
    root = make_dataset(tmp_path, 12, generators=("adm",), splits=("train",))
    edit_index(root, with_oddities)
    dataset = gs.open_dataset(root)
    report = gs.unbiased(dataset, size=(60, 100), quality=(90, 100)).report()
    assert report["dropped"]["real"] == {
        "gray, CMYK or with a palette": 1,
        "a real that is no JPEG": 1,
        "no known JPEG quality": 1,
        "unusual JPEG chroma": 1,
        "JPEG quality outside of the window": 1,
        "size outside of the window": 1,
        "a copy of another real": 1,
        "class not known (per_class=False does without)": 1,
        **{k: v for k, v in report["dropped"]["real"].items() if "other label" in k},
    }
    fakes = report["dropped"]["fake"]
    assert fakes["gray, CMYK or with a palette"] == fakes["a fake that is not lossless"] == 1
    assert fakes["size outside of the window"] == 1
    for label in ("real", "fake"):
        assert report["kept"][label] + sum(report["dropped"][label].values()) == 12
    assert report["kept"]["real"] == report["kept"]["fake"] > 0


def test_the_size_by_default_is_one_that_nine_in_ten_have(dataset: gs.Dataset) -> None:
    u = gs.unbiased(dataset)
    assert u.report()["size"] == [64, None]
    assert u.report()["crop"] == 49
    assert u.steps[1] == T.RandomCrop(49)


def test_loaders_apply_the_steps_first(dataset: gs.Dataset) -> None:
    u = make(dataset)
    steps = [T.RandomCrop(32), T.RandomHorizontalFlip()]
    loader = gs.Loader(u, 7, transform=steps, degrade="jpeg:30", seed=5)
    everything = [*u.steps, T.JPEG(30), *steps]
    seen = 0
    for batch in loader:
        for row, image, draws in zip(batch.rows.tolist(), batch.images, loader.draws(batch.rows), strict=True):
            sample = u[row]
            assert [draw["step"] for draw in draws] == [type(step).__name__ for step in everything]
            assert draws[0]["applied"] == (sample.label == "fake")
            assert not draws[0]["applied"] or draws[0]["inner"][0]["quality"] == 96
            expected = T.apply(
                sample.data, everything, seed=5, sha256=sample.facts["sha256"], label=sample.label, split="train"
            )
            assert np.array_equal(image.numpy().transpose(1, 2, 0), expected)
            seen += 1
    assert seen == len(u)
    plain = next(iter(gs.Loader(u, 4, crop=40)))
    assert plain.images.shape == (4, 3, 40, 40)
    assert gs.Loader(u, 4, crop=40, shuffle=False, views="five", degrade=["none", "blur:1"]) is not None


def test_selections_copies_states_and_receipts_carry_the_steps(dataset: gs.Dataset, root: Path) -> None:
    u = make(dataset)
    again = pickle.loads(pickle.dumps(u))
    assert again.report() == u.report()
    assert again.steps == u.steps
    assert (
        again.access.digest() == u.access.digest() != gs.Dataset(dataset.access.with_rows(u.index_rows)).access.digest()
    )
    assert u.select(labels=["fake"]).steps == u.first(1).steps == u.steps
    assert repr(u.steps[1]) in repr(u)
    assert "JPEG(quality='like reals', channels='rgb', chroma='420')" in repr(u)  # without all the reals' qualities
    with pytest.raises(ValueError, match="other steps"):
        u | dataset
    loader = gs.Loader(u, 5, transform=[T.RandomCrop(32)], seed=3)
    with pytest.raises(ValueError, match="another run"):
        gs.Loader(dataset, 5, transform=[T.RandomCrop(32)], seed=3).load_state_dict(loader.state_dict())
    receipt = json.loads(json.dumps(loader.receipt()))
    replayed = loader_of(receipt, str(root))
    assert replayed.dataset.steps == u.steps
    assert not differences(receipt, replayed)
    whole = [batch.images for batch in loader]
    resumed = gs.Loader(again, 5, transform=[T.RandomCrop(32)], seed=3)
    taken = iter(resumed)
    next(taken)
    state = resumed.state_dict()
    other = gs.Loader(again, 5, transform=[T.RandomCrop(32)], seed=3)
    other.load_state_dict(state)
    assert torch.equal(torch.cat([batch.images for batch in other]), torch.cat(whole[1:]))
    workers = DataLoader(
        gs.Loader(u, 5, transform=[T.RandomCrop(32)], seed=3).as_iterable_dataset(), None, num_workers=2
    )
    assert torch.equal(torch.cat([batch.images for batch in workers]), torch.cat(whole))


def test_map_style_applies_them_too(dataset: gs.Dataset) -> None:
    u = make(dataset)
    pictures = u.as_map_style([T.RandomCrop(32)], seed=5)
    loader = gs.Loader(u, len(u), transform=[T.RandomCrop(32)], seed=5, shuffle=False)
    for i, expected in enumerate(next(iter(loader)).images):
        assert np.array_equal(pickle.loads(pickle.dumps(pictures))[i][0], expected.numpy().transpose(1, 2, 0))
    assert u.as_map_style(lambda image: image.size)[0][0] == (45, 45)
    assert u.as_map_style()[0][0].shape == (45, 45, 3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": (10, 20)}, "size"),
        ({"size": (200, 300)}, "no real of train is left .12 size outside of the window"),
        ({"size": (80, 70)}, "the lowest comes first"),
        ({"size": (1, 2, 3)}, "lowest, highest"),
        ({"size": 60, "quality": 95}, "no real of train is left .12 JPEG quality outside of the window"),
        ({"quality": 0}, "quality"),
        ({"quality": 101}, "at most 100"),
        ({"per_class": "yes"}, "per_class"),
    ],
)
def test_what_cannot_be_is_said(dataset: gs.Dataset, options: dict[str, Any], said: str) -> None:
    train = dataset.select(generators=["adm"], splits=["train"])
    with pytest.raises(ValueError, match=said):
        gs.unbiased(train, **options)


def test_selections_that_do_not_fit_are_refused(dataset: gs.Dataset, root: Path) -> None:
    with pytest.raises(ValueError, match="no fakes"):
        gs.unbiased(dataset.select(labels=["real"]))
    with pytest.raises(ValueError, match="two opened datasets"):
        gs.unbiased(dataset, reals_from=gs.open_dataset(root))
    with pytest.raises(ValueError, match="carries steps"):
        gs.unbiased(make(dataset))
    with pytest.raises(ValueError, match="is no dataset"):
        gs.unbiased("shards")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"no real of train is left .there are none.: give reals_from="):
        gs.unbiased(dataset.select(labels=["fake"], generators=["adm"], splits=["train"]))
