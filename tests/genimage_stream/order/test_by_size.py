"""Steps of images by size: each sample once, one size per batch, as many steps on every rank, alike after a resume."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from genimage_stream.order.by_size import SizedSteps, order_by_size


def test_by_height_then_width_then_row() -> None:
    rows = np.array([3, 5, 8, 9, 11])
    sizes = np.array([[30, 20], [10, 90], [30, 10], [30, 20], [10, 90]])
    ordered, begins = order_by_size(rows, sizes)
    assert ordered.tolist() == [5, 11, 8, 3, 9]
    assert begins.tolist() == [0, 2, 3]


@settings(max_examples=200)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=8), st.integers(1, 7), st.integers(1, 5))
def test_steps_of_sizes(counts: list[int], batch_size: int, world_size: int) -> None:
    begins, samples = np.cumsum([0, *counts[:-1]]), sum(counts)
    steps = SizedSteps(begins, samples, batch_size, world_size)
    parts = [[steps.part(step, rank) for rank in range(world_size)] for step in range(len(steps))]
    assert [place for step in parts for a, b in step for place in range(a, b)] == list(range(samples))
    for number, step in enumerate(parts):
        assert steps.bounds(number) == (step[0][0], step[-1][1])
        for first, end in step:
            assert end - first <= batch_size
            if first == end:  # only where no batch was left to divide
                assert number == len(parts) - 1
                assert all(b - a <= 1 for several in parts for a, b in several)
            else:
                assert np.searchsorted(begins, first, "right") == np.searchsorted(begins, end - 1, "right")
        rest = SizedSteps(begins, samples, batch_size, world_size, steps.bounds(number)[1])
        assert rest.before == number + 1
        assert [[rest.part(i, r) for r in range(world_size)] for i in range(len(rest))] == parts[number + 1 :]
    batches = sum(-(-count // batch_size) for count in counts)
    assert len(steps) == -(-batches // world_size)
    elsewhere = SizedSteps(begins, samples, batch_size + 1, world_size + 1, samples // 2)
    assert (elsewhere.part(0, 0)[0] if len(elsewhere) else samples) == samples // 2
