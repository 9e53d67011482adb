"""Philox4x32-10, vectorised: random words that are a pure function of (key, counter).

A counter-based generator has no state: the words of a sample are computed from the sample alone, in any order, on any
rank, after any interruption. The algorithm is that of Salmon, Moraes, Dror, Shaw, "Parallel random
numbers: as easy as 1, 2, 3" (SC 2011), with the constants of its reference implementation, Random123.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint32]

_MULTIPLIERS = np.array([[0xD2511F53], [0xCD9E8D57]], np.uint64)
_WEYL = np.array([[0x9E3779B9], [0xBB67AE85]], np.uint32)
_ROUNDS = 10
_SHIFT = np.uint64(32)


def philox4x32(counters: npt.ArrayLike, key: tuple[int, int] | Words) -> Words:
    """The four random words of each counter, (4, n) uint32 to (4, n) uint32, under a key of two words, or under keys
    (2, n)."""
    counter = np.asarray(counters, np.uint32)
    if counter.ndim != 2 or counter.shape[0] != 4:
        raise ValueError(f"counters have shape {counter.shape}; philox4x32 needs (4, n)")
    keys: Words = np.asarray(key, np.uint32).reshape(2, -1)
    even, odd = counter[0::2], counter[1::2]  # words 0 and 2 are multiplied, words 1 and 3 are mixed in
    for _ in range(_ROUNDS):
        product = even.astype(np.uint64) * _MULTIPLIERS
        high = (product >> _SHIFT).astype(np.uint32)
        low = product.astype(np.uint32)
        # Word 0 becomes high(2) ^ word 1 ^ key 0, word 2 becomes high(0) ^ word 3 ^ key 1.
        even = high[::-1] ^ odd ^ keys
        odd = low[::-1]
        keys = keys + _WEYL
    words = np.empty_like(counter)
    words[0::2], words[1::2] = even, odd
    return words


def split_seed(seed: int) -> tuple[int, int]:
    """A seed of 64 bits as the two words of a key. Raises ValueError for others."""
    if not 0 <= seed < 1 << 64:
        raise ValueError(f"seed {seed} is outside 0 .. 2**64 - 1")
    return seed & 0xFFFFFFFF, seed >> 32


def below(words: Words, limits: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Words to whole numbers 0 <= k < limit, by the high half of word * limit.

    Every k gets 2**32 / limit words, give or take one: for limits of an image's size the bias is below 1e-5.
    """
    found: npt.NDArray[np.int64] = (words.astype(np.uint64) * limits.astype(np.uint64) >> _SHIFT).astype(np.int64)
    return found


def units(words: Words) -> npt.NDArray[np.float64]:
    """Words to numbers 0 <= u < 1."""
    return words.astype(np.float64) * (1.0 / (1 << 32))
