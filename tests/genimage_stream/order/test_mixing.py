"""Mixes: exact quotas, even rounds, rules that do not fit."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import genimage_stream as gs
from genimage_stream.dataset.groups import mixture_of
from genimage_stream.order.mixing import largest_remainders, rounds
from genimage_stream.order.plan import permutation
from tests.fixtures.shards import make_dataset, make_samples, write_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> gs.Dataset:
    """Uneven: 60 of adm, 20 of biggan, 10 of sd14, the fakes of sd14 missing but for 2."""
    samples = []
    for generator, count in (("adm", 30), ("biggan", 10), ("sd14", 8)):
        samples += make_samples(count, generators=[generator], splits=["train"])
    fakes = [s for s in samples if s.generator == "sd14" and s.label == "fake"]
    return gs.open_dataset(
        write_dataset(tmp_path_factory.mktemp("mix"), [s for s in samples if s not in fakes[2:]])
    ).select(splits=["train"])


def quotas(dataset: gs.Dataset, mix: Any, size: Any = "all") -> dict[tuple[Any, ...], int]:
    return {group.values: group.quota for group in mixture_of(dataset.access, mix, size).groups}


def test_equal_labels(dataset: gs.Dataset) -> None:
    assert len(dataset) == 90
    assert quotas(dataset, {"label": "equal"}) == {("fake",): 45, ("real",): 45}


def test_weights_for_generators_within_labels(dataset: gs.Dataset) -> None:
    mix = {"label": "equal", "generator": {"adm": 1, "biggan": 2, "sd14": 0}}
    assert quotas(dataset, mix, 60) == {
        ("fake", "adm"): 10,
        ("fake", "biggan"): 20,
        ("real", "adm"): 10,
        ("real", "biggan"): 20,
    }


def test_temperature(dataset: gs.Dataset) -> None:
    assert quotas(dataset, {"generator": 1}) == {("adm",): 60, ("biggan",): 20, ("sd14",): 10}
    root = np.sqrt([60, 20, 10])
    found = list(quotas(dataset, {"generator": 2.0}, 1000).values())
    assert abs(np.array(found) - 1000 * root / root.sum()).max() <= 1
    assert list(quotas(dataset, {"generator": 1e9}, 90).values()) == [30, 30, 30]


def test_balanced_classes(dataset: gs.Dataset) -> None:
    found = quotas(dataset, {"class_index": "equal"}, 100)
    assert found == {(0,): 25, (1,): 25, (2,): 25, (3,): 25}


def test_sizes_of_an_epoch(dataset: gs.Dataset) -> None:
    mix = {"generator": "equal"}
    assert quotas(dataset, mix, "min") == {("adm",): 10, ("biggan",): 10, ("sd14",): 10}
    assert quotas(dataset, mix, "max") == {("adm",): 60, ("biggan",): 60, ("sd14",): 60}
    assert sum(quotas(dataset, mix, 31).values()) == 31


@settings(max_examples=200)
@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=12), st.integers(0, 5000))
def test_largest_remainders(weights: list[float], total: int) -> None:
    shares = [weight / sum(weights) for weight in weights]
    found = largest_remainders(shares, total)
    assert sum(found) == total
    assert all(abs(n - share * total) < 1 + 1e-9 for n, share in zip(found, shares, strict=True))


@settings(max_examples=200)
@given(st.integers(1, 40), st.integers(0, 130), st.integers(1, 6), st.integers(0, 2**64 - 1))
def test_rounds_use_every_sample_before_one_comes_again(n: int, quota: int, epochs: int, seed: int) -> None:
    sequence = []
    for epoch in range(epochs):
        places, visits = rounds(n, quota, seed=seed, epoch=epoch, stream=3)
        assert len(places) == quota
        assert len(set(zip(places.tolist(), visits.tolist(), strict=True))) == quota  # visits tell repeats apart
        sequence += places.tolist()
    for first in range(0, len(sequence), n):
        part = sequence[first : first + n]
        assert len(set(part)) == len(part)


@settings(max_examples=300)
@given(st.integers(1, 40), st.data(), st.integers(0, 2**64 - 1))
def test_an_epoch_within_a_group_has_no_sample_twice(n: int, data: st.DataObject, seed: int) -> None:
    """Two rounds in one epoch once drew from two unrelated permutations."""
    quota = data.draw(st.integers(1, n))
    sequence = []
    for epoch in range(3 * n // quota + 3):
        places = rounds(n, quota, seed=seed, epoch=epoch, stream=3)[0].tolist()
        assert len(set(places)) == len(places) == quota
        sequence += places
    for first in range(0, len(sequence), n):
        part = sequence[first : first + n]
        assert len(set(part)) == len(part)


@pytest.mark.parametrize(("n", "quota"), [(30, 10), (30, 15), (30, 30), (30, 7), (30, 40)])
def test_rounds_are_random_permutations(n: int, quota: int) -> None:
    """Just that where no epoch takes of two rounds or has to repeat samples; elsewhere but for few places."""
    taken = np.concatenate([rounds(n, quota, seed=5, epoch=epoch, stream=3)[0] for epoch in range(12)])
    whole = len(taken) // n
    plain = np.concatenate([permutation(n, seed=5, epoch=number, stream=3) for number in range(whole)])
    same = (taken[: whole * n] == plain).mean()
    assert same == 1 if n % quota == 0 or quota > n else same > 0.7


def test_long_chains_of_rounds_end() -> None:
    """All but one of a group: no epoch leaves out the same sample as the one before, nor always in the same order."""
    n, quota = 50, 49
    left_out = [set(range(n)) - set(rounds(n, quota, seed=1, epoch=e, stream=3)[0].tolist()) for e in range(4 * n)]
    assert all(len(one) == 1 for one in left_out)
    sequence = [one.pop() for one in left_out]
    assert all(a != b for a, b in itertools.pairwise(sequence))
    assert sequence[:n] != sequence[n : 2 * n]


@pytest.mark.parametrize("size", ["min", 50])
def test_a_mix_within_its_groups_repeats_nothing(dataset: gs.Dataset, size: Any) -> None:
    uneven = dataset.select(labels=["real"]) | dataset.select(labels=["fake"]).sample(30)
    mixture = mixture_of(uneven.access, {"label": "equal"}, size)
    for epoch in range(12):
        rows = mixture.order(seed=0, epoch=epoch).rows.tolist()
        assert len(set(rows)) == len(rows) == mixture.size


@pytest.mark.parametrize("shuffle", [True, "shards", False])
def test_epochs_of_a_mixed_loader(dataset: gs.Dataset, shuffle: Any) -> None:
    mix = {"label": "equal", "generator": "equal"}
    window = 3 if shuffle == "shards" else None
    loader = gs.Loader(dataset, 16, crop=16, shuffle=shuffle, mix=mix, epoch_size=120, window=window)
    assert len(loader) == 8
    table = dataset.access.columns.table(["label", "generator"]).to_pylist()
    for _ in range(2):
        batches = list(loader)
        seen = Counter((table[r]["label"], table[r]["generator"]) for b in batches for r in b.rows.tolist())
        assert set(seen.values()) == {20}
        assert len(seen) == 6


def test_visits_to_the_same_sample_have_windows_of_their_own(dataset: gs.Dataset) -> None:
    few = dataset.select(generators=["sd14"], labels=["fake"])
    loader = gs.Loader(few, 20, crop=8, mix={"label": "equal"}, epoch_size=20)
    (batch,) = loader
    assert set(Counter(batch.keys).values()) == {10}
    assert len({image.numpy().tobytes() for image in batch.images}) > 15


def test_resuming_a_mixed_run(dataset: gs.Dataset) -> None:
    options: dict[str, Any] = {
        "crop": 16,
        "mix": {"label": "equal", "generator": {"adm": 1, "biggan": 1.5, "sd14": 2}},
        "epoch_size": 130,
        "seed": 4,
    }
    straight = gs.Loader(dataset, 10, **options)
    expected = [list(straight), list(straight)]
    whole = [(b.rows.tolist(), b.images) for b in expected[1]]
    first = gs.Loader(dataset, 10, **options)
    list(first)
    running = iter(first)
    for _ in range(5):
        next(running)
    state = first.state_dict()
    again = gs.Loader(dataset, 10, **options)
    again.load_state_dict(state)
    rest = [(b.rows.tolist(), b.images) for b in again]
    assert len(rest) == 8
    for (rows, images), (other_rows, other_images) in zip(rest, whole[5:], strict=True):
        assert rows == other_rows
        assert (images == other_images).all()
    with pytest.raises(ValueError, match="mix"):
        gs.Loader(dataset, 10, crop=16, seed=4).load_state_dict(state)
    with pytest.raises(ValueError, match="epoch_samples"):
        gs.Loader(dataset, 10, **{**options, "epoch_size": 131}).load_state_dict(state)


@pytest.mark.parametrize(
    ("mix", "size", "message"),
    [
        ({}, "all", "at least one column"),
        ({"width": "equal"}, "all", "'width'"),
        ({"generator": {"adm": 1}}, "all", "no weight for the generator 'biggan', 'sd14'"),
        ({"label": {"real": 0, "fake": 0}}, "all", "above 0"),
        ({"label": {"real": -1, "fake": 1}}, "all", "-1"),
        ({"label": {"real": float("nan"), "fake": 1}}, "all", "nan"),
        ({"label": 0}, "all", "rule 0"),
        ({"label": "even"}, "all", "rule 'even'"),
        ({"label": "equal"}, 0, "epoch_size=0"),
        ({"label": "equal"}, "most", "epoch_size='most'"),
        ({"label": "equal"}, True, "epoch_size=True"),
        ({"label": "equal"}, 1.5, "epoch_size=1.5"),
        (["label"], "all", r"mix=\['label'\].*mapping"),
        ("label", "all", "mix='label'.*mapping"),
        ({"generator": {"adm": 1, "biggan": 1, "sd14": 1, "sdxl": 5}}, "all", "'sdxl'.*has adm, biggan, sd14"),
        ({"class_index": {**dict.fromkeys(range(4), 1), 1000: 1}}, "all", "1000.*0 to 999"),
        ({"label": {"real": "a", "fake": 1}}, "all", "'real': 'a'"),
    ],
)
def test_rules_that_do_not_fit(dataset: gs.Dataset, mix: Any, size: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gs.Loader(dataset, mix=mix, epoch_size=size)


def test_values_that_only_this_selection_lacks(dataset: gs.Dataset) -> None:
    fakes = dataset.select(labels=["fake"], generators=["adm"])
    mix = {
        "label": {"fake": 1},
        "generator": {"adm": 1, "biggan": 2, "sd14": 1},
        "split": {"train": 1, "val": 0},
    }
    assert quotas(fakes, mix, np.int64(7)) == {("fake", "adm", "train"): 7}
    assert quotas(fakes, {"class_index": dict.fromkeys(range(1000), 1.0)}, 8) == {(i,): 2 for i in range(4)}


def test_samples_without_a_value(tmp_path: Path) -> None:
    samples = make_samples(2)
    root = write_dataset(tmp_path, [*samples[1:], make_no_class(samples[0])])
    with pytest.raises(ValueError, match="1 of the selected samples have none"):
        gs.Loader(gs.open_dataset(root), mix={"class_index": "equal"})


def make_no_class(sample: Any) -> Any:
    from dataclasses import replace

    return replace(sample, class_index=None)


def test_epoch_size_belongs_to_a_mix(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs a mix"):
        gs.Loader(gs.open_dataset(make_dataset(tmp_path, 1)), epoch_size=5)


@pytest.mark.parametrize("weights", [{"real": 1, "fake": 1}, {"real": 0, "fake": 1}])
def test_a_mix_of_a_label_that_the_selection_lacks(tmp_path: Path, weights: dict[str, float]) -> None:
    fakes = gs.open_dataset(make_dataset(tmp_path, 2)).select(labels=["fake"])
    with pytest.raises(ValueError, match="mix has weights for the label 'real'; the selection has fake"):
        gs.Loader(fakes, 2, crop=8, mix={"label": weights})
