"""Pairs of images in two selections, e.g. a real and its reconstruction: those of the same file name and split."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from genimage_stream.dataset.access import Access, Rows


def pair_rows(first: Access, second: Access) -> Rows:
    """Of each row of the first index the row of its pair in the second, -1 for those that are not selected.

    A sample's pair has the same split, and the same key but for generator, split and label, which come first in it:
    images keep the names of their files. Raises ValueError when a selected sample has no pair, several, one of another
    size, or shares it.
    """
    there = _by_name(second)
    found = np.full(first.columns.num_rows, -1, np.int64)
    missing, several = [], []
    for name, rows in _by_name(first).items():
        pairs = there.get(name, [])
        if not pairs:
            missing += rows
        elif len(pairs) > 1 or len(rows) > 1:
            several += rows
        else:
            found[rows[0]] = pairs[0]
    for rows, what in ((missing, "have no pair"), (several, "have several, or share it")):
        if rows:
            raise ValueError(
                f"pairs: {len(rows):,} of {len(first):,} samples {what} in {second.store.name}, e.g. "
                f"{first.columns.keys(np.array(rows[:1]))[0]!r}; a pair has the same split and the same file name"
            )
    sizes = [np.stack(access.columns.numbers("width", "height"), axis=1) for access in (first, second)]
    rows_here = first.rows
    unlike = rows_here[(sizes[0][rows_here] != sizes[1][found[rows_here]]).any(axis=1)]
    if len(unlike):
        row = int(unlike[0])
        here, other = ("x".join(map(str, one)) for one in (sizes[0][row], sizes[1][found[row]]))
        raise ValueError(
            f"pairs: {len(unlike):,} of {len(first):,} samples have another size than their pair, e.g. "
            f"{first.columns.keys(unlike[:1])[0]!r}, {here} and {other}: make the pairs of one size"
        )
    return found


def _by_name(access: Access) -> dict[tuple[str, str], list[int]]:
    """The selected rows of the index by split and file name."""
    columns, rows = access.columns, access.rows
    words = []
    for column in ("generator", "split", "label"):
        codes, names = columns.words(column)
        words.append([names[code] for code in codes[rows].tolist()])
    found: dict[tuple[str, str], list[int]] = {}
    for row, key, generator, split, label in zip(rows.tolist(), columns.keys(rows), *words, strict=True):
        found.setdefault((split, key.removeprefix(f"{generator}_{split}_{label}_")), []).append(row)
    return found
