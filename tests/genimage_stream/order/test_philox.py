"""Philox4x32-10 against the known answers of Random123 and against a plain scalar version."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genimage_stream.order.philox import below, philox4x32, split_seed, units

# Random123's kat_vectors: counter, key, answer.
KNOWN_ANSWERS = [
    ([0, 0, 0, 0], (0, 0), [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, (0xFFFFFFFF, 0xFFFFFFFF), [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        (0xA4093822, 0x299F31D0),
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]

WORD = st.integers(0, 0xFFFFFFFF)


def plain_philox(counter: list[int], key: tuple[int, int]) -> list[int]:
    """The textbook, one counter at a time, in Python's whole numbers."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p2 = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1, c2, c3 = (p2 >> 32) ^ c1 ^ k0, p2 & 0xFFFFFFFF, (p0 >> 32) ^ c3 ^ k1, p0 & 0xFFFFFFFF
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return [c0, c1, c2, c3]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_known_answers(counter: list[int], key: tuple[int, int], answer: list[int]) -> None:
    assert philox4x32(np.array([counter], np.uint32).T, key)[:, 0].tolist() == answer


@settings(max_examples=50)
@given(st.lists(st.lists(WORD, min_size=4, max_size=4), min_size=1, max_size=9), st.tuples(WORD, WORD))
def test_vectorised_equals_plain(counters: list[list[int]], key: tuple[int, int]) -> None:
    words = philox4x32(np.array(counters, np.uint32).T, key)
    assert words.T.tolist() == [plain_philox(counter, key) for counter in counters]


def test_each_counter_may_have_a_key_of_its_own() -> None:
    counters = np.arange(12, dtype=np.uint32).reshape(4, 3)
    keys = np.array([[1, 2, 3], [4, 5, 6]], np.uint32)
    words = philox4x32(counters, keys)
    for i in range(3):
        assert words[:, i].tolist() == plain_philox(counters[:, i].tolist(), (int(keys[0, i]), int(keys[1, i])))


def test_below_covers_its_range_evenly() -> None:
    counters = np.zeros((4, 70_000), np.uint32)
    counters[0] = np.arange(70_000)
    words = philox4x32(counters, (0, 0))[0]
    counts = np.bincount(below(words, np.full(len(words), 7)), minlength=7)
    assert len(counts) == 7
    assert abs(counts - 10_000).max() < 500
    assert below(np.array([0xFFFFFFFF], np.uint32), np.array([1])).tolist() == [0]


def test_units_stay_below_one() -> None:
    assert units(np.array([0, 0xFFFFFFFF], np.uint32)).tolist() == [0.0, 1 - 2.0**-32]


def test_seed_has_64_bits() -> None:
    assert split_seed((5 << 32) | 7) == (7, 5)
    for seed in (-1, 1 << 64):
        with pytest.raises(ValueError, match="seed"):
            split_seed(seed)


def test_counters_have_four_words() -> None:
    with pytest.raises(ValueError, match="shape"):
        philox4x32(np.zeros((3, 5), np.uint32), (0, 0))
