"""The reading plan: orders, steps and ranks as pure functions."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genimage_stream.order.plan import Order, Steps, epoch_order, permutation

SEEDS = st.integers(0, 2**64 - 1)
EPOCHS = st.integers(0, 2**40)


@settings(max_examples=60)
@given(st.integers(0, 3000), SEEDS, EPOCHS)
def test_a_permutation_holds_every_place_once(n: int, seed: int, epoch: int) -> None:
    places = permutation(n, seed=seed, epoch=epoch, stream=1)
    assert sorted(places.tolist()) == list(range(n))
    assert (places == permutation(n, seed=seed, epoch=epoch, stream=1)).all()


def test_the_order_is_the_same_in_every_version() -> None:
    assert permutation(10, seed=7, epoch=3, stream=1).tolist() == PINNED


def test_every_permutation_is_as_likely() -> None:
    n, draws = 4, 4800
    counts = Counter(tuple(permutation(n, seed=seed, epoch=0, stream=1).tolist()) for seed in range(draws))
    assert len(counts) == math.factorial(n)
    expected = draws / math.factorial(n)
    chi_squared = sum((count - expected) ** 2 / expected for count in counts.values())
    assert chi_squared < 49.7  # 23 degrees of freedom, p = 0.001


@settings(max_examples=60)
@given(st.lists(st.integers(0, 9), max_size=400), st.integers(1, 12), SEEDS)
def test_windows_of_shards(shard_of: list[int], window: int, seed: int) -> None:
    shards = np.array(shard_of, np.int32)
    rows = np.arange(len(shards)) + 100
    found = epoch_order(Order(rows), seed=seed, epoch=0, shuffle="shards", shards=shards, window=window).rows
    assert sorted(found.tolist()) == rows.tolist()
    sequence = shards[found - 100]
    distinct = len(set(shard_of))
    # Cut into windows: no shard comes in two of them, and all but the last hold `window` shards.
    groups: list[set[int]] = [set()]
    for shard in sequence.tolist():
        if shard not in groups[-1] and len(groups[-1]) == window:
            groups.append(set())
        groups[-1].add(shard)
    assert sum(len(group) for group in groups) == distinct
    assert all(len(group) == window for group in groups[:-1])


def test_order_by_shards_mixes_windows_and_shards() -> None:
    shards = np.repeat(np.arange(40, dtype=np.int32), 50)
    orders = [
        epoch_order(Order(np.arange(2000)), seed=0, epoch=e, shuffle="shards", shards=shards, window=8).rows
        for e in range(2)
    ]
    assert (orders[0] != orders[1]).any()
    first = [set(shards[order[:400]].tolist()) for order in orders]
    assert len(first[0]) == 8
    assert first[0] != first[1]
    assert len(set(shards[orders[0][:64]].tolist())) == 8  # a batch draws from all shards of its window


def test_no_shuffle_is_the_order_given() -> None:
    rows = np.array([3, 5, 8])
    assert epoch_order(Order(rows), seed=9, epoch=9, shuffle="none").rows is rows


def test_order_by_shards_wants_shards_and_a_window() -> None:
    with pytest.raises(ValueError, match="shard"):
        epoch_order(Order(np.arange(3)), seed=0, epoch=0, shuffle="shards")
    with pytest.raises(ValueError, match="window"):
        epoch_order(Order(np.arange(3)), seed=0, epoch=0, shuffle="shards", shards=np.zeros(3, np.int32), window=0)


STEPS = st.builds(
    Steps,
    samples=st.integers(0, 500),
    batch_size=st.integers(1, 40),
    world_size=st.integers(1, 9),
    drop_last=st.booleans(),
)


def places(steps: Steps, rank: int) -> list[int]:
    return [place for step in range(len(steps)) for place in range(*steps.part(step, rank))]


@settings(max_examples=200)
@given(STEPS)
def test_every_place_once_over_all_ranks(steps: Steps) -> None:
    found = sorted(place for rank in range(steps.world_size) for place in places(steps, rank))
    kept = steps.samples // steps.global_batch * steps.global_batch if steps.drop_last else steps.samples
    assert found == list(range(kept))


def sizes_of(steps: Steps) -> list[list[int]]:
    """Of each step, the sizes of the ranks' batches."""
    return [[b - a for a, b in (steps.part(step, r) for r in range(steps.world_size))] for step in range(len(steps))]


@settings(max_examples=400)
@given(STEPS)
def test_batches_are_full_but_for_the_last_steps(steps: Steps) -> None:
    last = steps.samples % steps.global_batch
    shared = 0 < last < steps.world_size and steps.batch_size > 1
    for step, sizes in enumerate(sizes_of(steps)):
        if steps.drop_last or step < len(steps) - 1 - shared:
            assert set(sizes) == {steps.batch_size}
        else:
            assert max(sizes) - min(sizes) <= 1
            assert 1 <= sum(sizes) <= steps.global_batch
    if shared and not steps.drop_last and len(steps) > 1:
        before, after = (sum(sizes) for sizes in sizes_of(steps)[-2:])
        assert 0 <= before - after <= 1


@settings(max_examples=400)
@given(STEPS)
def test_no_rank_gets_an_empty_batch(steps: Steps) -> None:
    """Empty batches make losses NaN. Unless there are fewer samples than ranks, or each batch is one sample."""
    empty = [sizes.count(0) for sizes in sizes_of(steps)]
    assert sum(empty) == steps.empty
    assert not any(empty[:-1])
    if steps.samples >= steps.world_size and steps.batch_size > 1:
        assert steps.empty == 0


@settings(max_examples=200)
@given(STEPS, st.data())
def test_what_a_step_takes_depends_on_what_is_left(steps: Steps, data: st.DataObject) -> None:
    done = data.draw(st.integers(0, len(steps)))
    position = steps.bounds(done - 1)[1] if done else 0
    rest = Steps(steps.samples, steps.batch_size, steps.world_size, steps.drop_last, position)
    assert len(rest) == len(steps) - done
    for step in range(len(rest)):
        assert rest.bounds(step) == steps.bounds(done + step)
    elsewhere = Steps(steps.samples + 77, steps.batch_size, steps.world_size, steps.drop_last, 77)
    assert [b - a for a, b in map(elsewhere.bounds, range(len(elsewhere)))] == [
        b - a for a, b in map(steps.bounds, range(len(steps)))
    ]


@settings(max_examples=200)
@given(STEPS, st.data())
def test_going_on_with_another_world_size(before: Steps, data: st.DataObject) -> None:
    done = data.draw(st.integers(0, len(before)))
    position = before.bounds(done - 1)[1] if done else 0
    after = Steps(
        before.samples,
        data.draw(st.integers(1, 40)),
        data.draw(st.integers(1, 9)),
        start=position,
    )
    seen = [p for rank in range(before.world_size) for s in range(done) for p in range(*before.part(s, rank))]
    seen += [p for rank in range(after.world_size) for p in places(after, rank)]
    assert sorted(seen) == list(range(before.samples))


@settings(max_examples=100)
@given(st.integers(0, 300), st.sampled_from([(1, 12), (2, 6), (3, 4), (4, 3), (6, 2), (12, 1)]), st.integers(0, 25))
def test_a_global_batch_is_the_same_set_for_any_world_size(samples: int, cut: tuple[int, int], step: int) -> None:
    whole, cut_up = Steps(samples, 12), Steps(samples, cut[1], cut[0])
    assert len(whole) == len(cut_up)
    shared = cut[1] > 1 and 0 < samples % 12 < cut[0]  # the last two steps depend on the number of ranks
    if step < len(whole) - 2 * shared:
        parts = [place for rank in range(cut[0]) for place in range(*cut_up.part(step, rank))]
        assert parts == list(range(*whole.bounds(step)))


@pytest.mark.parametrize("bad", [{"batch_size": 0}, {"world_size": 0}, {"start": -1}, {"start": 11}])
def test_senseless_steps(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        Steps(**{"samples": 10, "batch_size": 2, **bad})


def test_steps_and_ranks_that_do_not_exist() -> None:
    steps = Steps(10, 2, 2)
    for step, rank in ((3, 0), (-1, 0), (0, 2), (0, -1)):
        with pytest.raises(IndexError):
            steps.part(step, rank)


PINNED = [0, 2, 7, 6, 4, 1, 8, 9, 5, 3]  # of permutation(10, seed=7, epoch=3, stream=1)
