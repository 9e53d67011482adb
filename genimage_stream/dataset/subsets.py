"""Parts of a dataset as papers use them: the first N of each group, a random N, 90 % and the rest.

Random choices depend on the images' content: samples are sorted by a keyed hash of the sha256 in the index. So a subset
is the same however the dataset was packed, a group's subset is the same whatever other groups are selected, and two
copies of one image are never on both sides of a split, unless the cut itself falls between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from genimage_stream.arguments import WrongKindError, names, whole
from genimage_stream.dataset.groups import groups_of
from genimage_stream.order.mixing import largest_remainders
from genimage_stream.order.philox import philox4x32, split_seed
from genimage_stream.order.plan import STREAM_SUBSET

if TYPE_CHECKING:
    from genimage_stream.dataset.access import Access, Rows


def first(access: Access, n: int, per: Sequence[str]) -> Rows:
    """The first n samples of each group by the order of their keys, which is that of their file names."""
    n = whole("n", n, 0)
    parts = []
    for rows in _parts(access, per):
        by_key = np.argsort(np.array(access.columns.keys(rows)), kind="stable")
        parts.append(rows[by_key[:n]])
    return _joined(parts)


def sample(access: Access, n: int, per: Sequence[str], seed: int) -> Rows:
    """n random samples of each group, all of a smaller one."""
    n = whole("n", n, 0)
    turns = turns_of(access, seed)
    return _joined([rows[np.argsort(turns[rows], kind="stable")[:n]] for rows in _parts(access, per)])


def split(access: Access, fractions: Sequence[float], per: Sequence[str], seed: int) -> list[Rows]:
    """Random parts that share no sample and are together everything, each with its fraction of every group."""
    for fraction in fractions:
        if isinstance(fraction, bool) or not isinstance(fraction, Real):
            raise WrongKindError(f"split({fraction!r}): each fraction is a number of its own, e.g. split(0.9, 0.1)")
    given = ", ".join(f"{f:g}" for f in fractions)
    if any(f < 0 for f in fractions):
        raise ValueError(f"split({given}): a fraction is below 0")
    rest = 1 - sum(fractions)
    if not fractions or abs(rest) > 1e-9:
        wanted = f"{given}, {rest:.6g}" if fractions and rest > 0 else "0.9, 0.1"
        raise ValueError(
            f"split({given}): there is one part for each fraction, and they have to add up to 1, e.g. split({wanted})"
        )
    turns = turns_of(access, seed)
    parts: list[list[Rows]] = [[] for _ in fractions]
    for rows in _parts(access, per):
        in_turn = rows[np.argsort(turns[rows], kind="stable")]
        ends = np.cumsum(largest_remainders(list(fractions), len(rows)))
        for part, piece in zip(parts, np.split(in_turn, ends[:-1]), strict=True):
            part.append(piece)
    return [_joined(part) for part in parts]


def _parts(access: Access, per: Sequence[str]) -> list[Rows]:
    by = names("per", per)
    return list(groups_of(access.columns, access.chosen, by).values()) if by else [access.rows]


def _joined(parts: Sequence[Rows]) -> Rows:
    return np.sort(np.concatenate([np.empty(0, np.int64), *parts]))


def turns_of(access: Access, seed: int) -> npt.NDArray[np.uint64]:
    """Each row's turn, a random number of 64 bits; of the whole index, so that rows can index it."""
    hashes = access.columns.hashes()
    counters = np.zeros((4, len(hashes)), np.uint32)
    counters[0], counters[1], counters[2] = hashes & np.uint64(0xFFFFFFFF), hashes >> np.uint64(32), STREAM_SUBSET
    words: Any = philox4x32(counters, split_seed(seed)).astype(np.uint64)
    turns: npt.NDArray[np.uint64] = words[0] << np.uint64(32) | words[1]
    return turns
