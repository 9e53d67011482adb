"""`JPEG(quality="like reals")`: drawn as the selection's real images have them, by the sample's split."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import genimage_stream as gs
from genimage_stream import transforms as T  # noqa: N812
from tests.fixtures.shards import edit_index, make_dataset

STEPS = [T.Resize((32, 32)), T.OnlyIf(T.JPEG("like reals"), label="fake")]
#: By split: quality and chroma of its reals, one after the other, again and again.
REALS: dict[str, list[tuple[int | None, str]]] = {
    "train": [(60, "420"), (60, "420"), (75, "444"), (None, "420"), (90, "other"), (96, "422")],
    "val": [(30, "420")],
}


def with_qualities(table: pa.Table) -> pa.Table:
    """The reals get the qualities of REALS."""
    rows = table.to_pylist()
    seen: Counter[str] = Counter()
    for row in rows:
        if row["label"] == "real":
            known = REALS[row["split"]]
            row["jpeg_quality"], row["chroma"] = known[seen[row["split"]] % len(known)]
            seen[row["split"]] += 1
    return pa.Table.from_pylist(rows, table.schema)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_dataset(tmp_path_factory.mktemp("dataset"), 12)
    edit_index(root, with_qualities)
    return root


def loader_of(dataset: gs.Dataset, **options: Any) -> gs.Loader:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return gs.Loader(dataset, 8, transform=STEPS, **options)


def pairs(loader: gs.Loader, epoch: int = 0) -> dict[str, Counter[tuple[int, str]]]:
    """What is drawn for fakes, by split."""
    table = loader.dataset.table(["split", "label"]).to_pylist()
    found: dict[str, Counter[tuple[int, str]]] = {"train": Counter(), "val": Counter()}
    for row, (_, draw) in zip(table, loader.draws(range(len(table)), epoch), strict=True):
        assert draw["applied"] == (row["label"] == "fake")
        if draw["applied"]:
            jpeg = draw["inner"][0]
            found[row["split"]][jpeg["quality"], jpeg["chroma"]] += 1
    return found


def test_pairs_are_drawn_as_often_as_reals_of_the_split_have_them(root: Path) -> None:
    loader = loader_of(gs.open_dataset(root))
    found: dict[str, Counter[tuple[int, str]]] = {"train": Counter(), "val": Counter()}
    for epoch in range(30):
        for split, drawn in pairs(loader, epoch).items():
            found[split] += drawn
    assert set(found["val"]) == {(30, "420")}
    assert set(found["train"]) == {(60, "420"), (75, "444"), (96, "422")}
    total = found["train"].total()
    assert abs(found["train"][60, "420"] / total - 0.5) < 0.1
    assert abs(found["train"][75, "444"] / total - 0.25) < 0.1


def test_batches_have_the_drawn_pixels(root: Path) -> None:
    dataset = gs.open_dataset(root)
    loader = loader_of(dataset, shuffle=False)
    for batch in loader:
        for row, image, draws in zip(batch.rows, batch.images, loader.draws(batch.rows), strict=True):
            sample = dataset[int(row)]
            steps: list[T.Step] = [T.Resize((32, 32))]
            if draws[1]["applied"]:
                jpeg = draws[1]["inner"][0]
                steps.append(T.JPEG(jpeg["quality"], chroma=jpeg["chroma"]))
            assert np.array_equal(image.numpy().transpose(1, 2, 0), T.apply(sample.data, steps))


def test_what_is_left_out_is_counted(root: Path) -> None:
    with pytest.warns(UserWarning, match=r"\d+ of \d+ real images have no known quality"):
        gs.Loader(gs.open_dataset(root), transform=STEPS)


def test_the_reals_are_those_of_the_selection_and_part_of_the_state(root: Path) -> None:
    dataset = gs.open_dataset(root)
    validation = loader_of(dataset.select(splits=["val"]))
    assert set(pairs(validation)["val"]) == {(30, "420")}
    everything = loader_of(dataset)
    fewer = loader_of(dataset.select(jpeg_quality=(60, 60)) | dataset.select(labels=["fake"]) | validation.dataset)
    assert set(pairs(fewer)["train"]) == {(60, "420")}
    state = everything.state_dict()
    loader_of(dataset).load_state_dict(state)
    steps = loader_of(dataset.select(splits=["val"]))
    with pytest.raises(ValueError, match="another"):
        steps.load_state_dict(state)


def test_no_known_quality_is_an_error(root: Path) -> None:
    dataset = gs.open_dataset(root)
    with pytest.raises(ValueError, match=r"step 1 of the transform.*no real image of split '(train|val)'"):
        gs.Loader(dataset.select(labels=["fake"]), transform=STEPS)


def test_an_index_without_chroma_draws_420_and_says_so(tmp_path: Path) -> None:
    root = make_dataset(tmp_path, 4)
    edit_index(root, lambda table: table.drop_columns(["chroma"]))
    dataset = gs.open_dataset(root)
    with pytest.warns(UserWarning, match="no column chroma"):
        loader = gs.Loader(dataset, transform=STEPS)
    assert {chroma for drawn in pairs(loader).values() for _, chroma in drawn} == {"420"}


def test_without_a_loader_the_reals_are_not_known() -> None:
    with pytest.raises(ValueError, match="known to loaders"):
        T.apply(np.zeros((8, 8, 3), np.uint8), [T.JPEG("like reals")])
    fixed = T.JPEG("like reals", reals=(("train", 40, "444", 3),))
    assert T.from_json(T.to_json([fixed])) == [fixed]
    assert T.draws_of(np.zeros((8, 8, 3), np.uint8), [fixed])[0]["quality"] == 40


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: T.JPEG("as reals"), r'quality=.as reals.\): a whole number, \(low, high\) or "like reals" is needed'),  # type: ignore[arg-type]
        (lambda: T.JPEG("like reals", chroma="444"), "draws it along"),
        (lambda: T.JPEG(60, reals=(("train", 40, "444", 3),)), "like reals"),
        (lambda: T.JPEG("like reals", reals=(("train", 40, "411", 3),)), "number of images"),
    ],
)
def test_impossible_arguments_are_refused(make: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()
