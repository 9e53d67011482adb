"""Sizes as people write them, and the CPUs of this process."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from genimage_stream.resources import cores, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("50GB", 50 * 10**9),
        ("1.5 MiB", 3 << 19),
        ("7", 7),
        (8, 8),
        (5e9, 5 * 10**9),
        (np.int64(9), 9),
        ("2k", 2000),
        ("1TiB", 1 << 40),
    ],
)
def test_sizes(text: float | str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "5 apples", "-1", "1.2.3G", ".", -5, "5I", float("nan"), True, None, [5]])
def test_no_sizes(text: Any) -> None:
    with pytest.raises(ValueError, match="not a size"):
        parse_size(text)


def test_cores_are_those_of_this_process() -> None:
    assert cores() == len(os.sched_getaffinity(0))
