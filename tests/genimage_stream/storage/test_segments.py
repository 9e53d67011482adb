"""Which bytes of a stored image a window needs."""

from __future__ import annotations

import numpy as np

from genimage_stream.storage.segments import SegmentTable


def test_what_is_needed() -> None:
    lists = [[32, 1000, 3000, 6000, 10000, 90000], [], [16, 500, 900, 1000, 2000, 5000]]
    starts = np.concatenate([[0], np.cumsum([len(one) for one in lists])])
    table = SegmentTable(starts, np.array([value for one in lists for value in one], np.int32))

    def needed(row: int, y: int, size: int, height: int = 30) -> list[int]:
        found = table.needed(np.array([row]), np.array([size]), np.array([y]), np.array([height]))
        return [int(value) for value in found[0]]

    whole = [90012] * 3
    assert needed(0, 0, 90012) == [1012, 1000, 3000]
    assert needed(0, 2, 90012) == [1012, 1000, 3000]
    assert needed(0, 3, 90012) == [1012, 1000, 6000]
    assert needed(0, 40, 90012) == [1012, 3000, 10000]
    assert needed(0, 98, 90012) == whole, "more than half"
    assert needed(0, 0, 90012, 128) == whole, "all rows"
    assert needed(0, 0, 90012, 0) == whole, "no rows"
    assert needed(1, 0, 77) == [77] * 3, "no entry"
    assert needed(2, 0, 5012, 16) == [512, 500, 900]
    assert needed(2, 60, 5012, 16) == [5012] * 3, "a window that leaves the bands"
