"""benchmarks.packing: planning and indexing a synthetic list goes through the packer's own functions to the end."""

from __future__ import annotations

from benchmarks import packing


def test_planning_and_indexing_a_synthetic_list() -> None:
    steps = packing.planning(0.0005)
    names = " ".join(steps)
    for step in ("names of 1,", "keys and plan of 16 shards", "index", "opening it (1,", "in all"):
        assert step in names
    assert all(len(figures) == 3 for figures in steps.values())
