"""The order in which nodes keep their shards: whole, even, slow to move, and given by any world."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from genimage_stream.order.nodes import NodeSteps, Shards, cut, order_by_nodes
from genimage_stream.order.plan import Order

Codes = npt.NDArray[np.int32]


def paths(count: int, groups: int = 4) -> list[str]:
    return [f"g{i % groups}/train/g{i % groups}-train-{i:05d}.tar" for i in range(count)]


def shard_of(samples: int, shards: int) -> Codes:
    """Each sample's shard; shards differ in size."""
    return np.sort(np.random.default_rng(shards).integers(0, shards, samples)).astype(np.int32)


def order(codes: Codes, shards: int, epoch: int, nodes: int, *, keep: int = 4, window: int = 3, seed: int = 1) -> Order:
    return order_by_nodes(
        Order(np.arange(len(codes))), codes, Shards.of(paths(shards)), seed=seed, epoch=epoch, nodes=nodes, keep=keep,
        window=window,
    )  # fmt: skip


def shares(codes: Codes, shards: int, epoch: int, nodes: int, keep: int = 4) -> npt.NDArray[np.int64]:
    """(samples,) the node that has each sample."""
    rows = order(codes, shards, epoch, nodes, keep=keep).rows
    node = np.empty(len(codes), np.int64)
    node[rows] = np.arange(len(rows)) % nodes
    return node


@settings(max_examples=60)
@given(
    st.integers(1, 300), st.integers(1, 20), st.integers(0, 40), st.integers(1, 7), st.integers(1, 6),
    st.integers(0, 2**64 - 1),
)  # fmt: skip
def test_every_sample_once_in_even_shares(
    samples: int, shards: int, epoch: int, nodes: int, window: int, seed: int
) -> None:
    codes = shard_of(samples, shards)
    found = order(codes, shards, epoch, nodes, window=window, seed=seed).rows
    assert sorted(found.tolist()) == list(range(samples))
    divided = 0
    for shard in range(shards):
        divided += len(set((np.flatnonzero(codes[found] == shard) % nodes).tolist())) > 1
    assert divided <= nodes


def test_the_order_is_the_same_in_every_version() -> None:
    assert order(shard_of(12, 4), 4, 9, 2, keep=2).rows.tolist() == PINNED


def test_windows_hold_the_groups_in_even_parts() -> None:
    codes = np.repeat(np.arange(64, dtype=np.int32), 10)
    found = codes[order(codes, 64, 0, 1, window=8).rows]
    for window in found.reshape(8, 80):
        assert set(Counter((window % 4).tolist()).values()) == {20}  # two of each group's shards


def test_a_node_keeps_its_shards() -> None:
    codes, keep = shard_of(4000, 200), 4
    first = shares(codes, 200, 0, 3)
    assert all((shares(codes, 200, epoch, 3) == first).all() for epoch in range(1, keep))
    for epoch in range(keep, 3 * keep):
        moved = (shares(codes, 200, epoch, 3) != shares(codes, 200, epoch - 1, 3)).mean()
        assert 0.05 < moved < 0.35  # a fourth of the shards come to their turn, and two of three nodes are others


def test_one_node_more_moves_little() -> None:
    codes = shard_of(8000, 400)
    before, after = shares(codes, 400, 0, 7), shares(codes, 400, 0, 8)
    assert 1 / 8 <= (before != after).mean() < 0.25


def test_shares_do_not_depend_on_the_seed() -> None:
    codes = shard_of(600, 30)
    one, other = order(codes, 30, 5, 3, seed=1).rows, order(codes, 30, 5, 3, seed=2).rows
    assert one.tolist() != other.tolist()
    assert all(set(one[node::3].tolist()) == set(other[node::3].tolist()) for node in range(3))


@settings(max_examples=80)
@given(st.data())
def test_steps_of_any_world(data: st.DataObject) -> None:
    samples, shards = data.draw(st.integers(1, 200)), data.draw(st.integers(1, 9))
    shares, nodes, ranks = (data.draw(st.integers(1, 4)) for _ in range(3))
    start, batch_size = data.draw(st.integers(0, samples)), data.draw(st.integers(1, 9))
    drop_last = data.draw(st.booleans())
    codes = shard_of(samples, shards)
    plain = order(codes, shards, 3, shares)
    steps = NodeSteps(samples, batch_size, nodes * ranks, drop_last, start, shares, ranks)
    found = steps.arranged(plain)
    given_by = np.full(samples, -1)
    for step in range(len(steps)):
        first, last = steps.bounds(step)
        assert set(found.rows[first:last].tolist()) == set(plain.rows[first:last].tolist())
        parts = [steps.part(step, rank) for rank in range(nodes * ranks)]
        assert [end for _, end in parts[:-1]] == [begin for begin, _ in parts[1:]]
        assert (parts[0][0], parts[-1][1]) == (first, last)
        sizes = [end - begin for begin, end in parts]
        assert max(sizes) <= batch_size
        assert max(sizes) - min(sizes) <= 1
        for rank, part in enumerate(parts):
            given_by[slice(*part)] = rank // ranks
    for node in range(nodes):
        coming, divided = cut(found, steps, node, codes[found.rows])
        assert coming.tolist() == np.flatnonzero(given_by == node).tolist()
        if steps.own:
            assert set(found.rows[coming].tolist()) <= set(plain.rows[node::shares].tolist())
            mine = set(plain.rows[node::shares].tolist())
            others = {int(codes[row]) for row in plain.rows.tolist() if row not in mine}
            assert set(found.rows[divided].tolist()) == {row for row in mine if int(codes[row]) in others}
        else:
            assert not divided.any()


PINNED = [10, 5, 0, 1, 7, 6, 8, 3, 9, 2, 11, 4]
