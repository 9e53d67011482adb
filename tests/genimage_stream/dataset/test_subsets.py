"""Subsets: exact, seeded, the same however the dataset was packed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

import genimage_stream as gs
from tests.fixtures.shards import edit_index, make_samples, write_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> gs.Dataset:
    return gs.open_dataset(write_dataset(tmp_path_factory.mktemp("dataset"), make_samples(10)))


def keys(dataset: gs.Dataset) -> set[str]:
    return set(dataset.table(["key"])["key"].to_pylist())


def groups(dataset: gs.Dataset) -> set[int]:
    return set(dataset.counts().values())


def test_first_goes_by_names(dataset: gs.Dataset) -> None:
    found = dataset.first(3)
    assert groups(found) == {3}
    for (generator, split, label), _ in found.counts().items():
        names = sorted(k for k in keys(dataset) if k.startswith(f"{generator}_{split}_{label}_"))
        assert names[:3] == sorted(k for k in keys(found) if k.startswith(f"{generator}_{split}_{label}_"))
    assert len(dataset.first(99)) == len(dataset)
    assert len(dataset.first(2, per=["label"])) == 4
    assert len(dataset.first(0)) == 0


def test_sample(dataset: gs.Dataset) -> None:
    assert len(dataset.sample(17)) == 17
    assert groups(dataset.sample(4, per=["generator", "split", "label"])) == {4}
    assert keys(dataset.sample(17)) == keys(dataset.sample(17))
    assert keys(dataset.sample(17)) != keys(dataset.sample(17, seed=1))
    assert keys(dataset.sample(17)) < keys(dataset.sample(30))  # more of the same
    assert len(dataset.sample(10**6)) == len(dataset)


def test_split(dataset: gs.Dataset) -> None:
    train, held_out = dataset.split(0.9, 0.1)
    assert groups(train) == {9}
    assert groups(held_out) == {1}
    assert len(train & held_out) == 0
    assert (train | held_out).access.rows.tolist() == dataset.access.rows.tolist()
    assert [len(part) for part in dataset.split(0.5, 0.25, 0.25, per=[])] == [60, 30, 30]
    assert [len(part) for part in dataset.split(1.0, 0.0)] == [120, 0]


def test_a_group_is_split_the_same_whatever_is_selected_beside_it(dataset: gs.Dataset) -> None:
    alone, _ = dataset.select(generators=["sd14"]).split(0.7, 0.3)
    assert keys(alone) == keys(dataset.split(0.7, 0.3)[0].select(generators=["sd14"]))


def test_the_packing_does_not_matter(dataset: gs.Dataset, tmp_path: Path) -> None:
    other = gs.open_dataset(write_dataset(tmp_path, reversed(make_samples(10)), per_shard=7))
    assert keys(other.sample(25, seed=3)) == keys(dataset.sample(25, seed=3))
    assert [keys(p) for p in other.split(0.6, 0.4)] == [keys(p) for p in dataset.split(0.6, 0.4)]


def test_the_choice_is_even(dataset: gs.Dataset) -> None:
    chosen = Counter(key for seed in range(200) for key in keys(dataset.sample(30, seed=seed)))
    assert len(chosen) == 120
    assert min(chosen.values()) > 20  # 50 on average, standard deviation 6
    assert max(chosen.values()) < 80


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: d.split(), "add up to 1"),
        (lambda d: d.split(0.5, 0.4), "add up to 1"),
        (lambda d: d.split(1.5, -0.5), "below 0"),
        (lambda d: d.split([0.9, 0.1]), r"split\(\[0.9, 0.1\]\): each fraction is a number of its own"),
        (lambda d: d.split(0.9, "0.1"), r"split\('0.1'\)"),
        (lambda d: d.sample(-1), "n=-1"),
        (lambda d: d.first(-1), "n=-1"),
        (lambda d: d.sample(3, per=["width"]), "'width'"),
        (lambda d: d.sample(3, seed=-1), "seed"),
        (lambda d: d.first(1.5), "n=1.5"),
        (lambda d: d.sample(3, per="generator"), r"per='generator'.*\['generator'\]"),
    ],
)
def test_senseless_subsets(dataset: gs.Dataset, call: object, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        call(dataset)  # type: ignore[operator]


@pytest.mark.parametrize("value", ["", "x" * 64, None])
def test_an_index_without_hashes(tmp_path: Path, value: str | None) -> None:
    root = write_dataset(tmp_path, make_samples(2))

    def spoil(table: pa.Table) -> pa.Table:
        hashes = table["sha256"].to_pylist()
        place = table.schema.get_field_index("sha256")
        return table.set_column(place, "sha256", pa.array([value, *hashes[1:]], pa.string()))

    edit_index(root, spoil)
    with pytest.raises(ValueError, match="sha256"):
        gs.open_dataset(root).sample(3)
