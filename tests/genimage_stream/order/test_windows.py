"""Windows: inside the image, evenly spread, the same for a sample wherever it comes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genimage_stream.order.philox import Words
from genimage_stream.order.windows import Position, Small, enlarged, windows

SIDE = st.integers(1, 700)


def words(n: int, seed: int) -> Words:
    return np.random.default_rng(seed).integers(0, 1 << 32, (3, n), dtype=np.uint32)


@settings(max_examples=200)
@given(
    st.lists(st.tuples(SIDE, SIDE), min_size=1, max_size=8),
    st.tuples(st.integers(1, 300), st.integers(1, 300)),
    st.sampled_from(["random", "center"]),
    st.sampled_from(["tile", "reflect", "constant", "resize"]),
    st.integers(0, 2**64 - 1),
)
def test_windows_stay_on_the_canvas(
    sizes: list[tuple[int, int]], crop: tuple[int, int], position: Position, small: Small, seed: int
) -> None:
    array = np.array(sizes)
    found = windows(array, words(len(sizes), seed), crop=crop, position=position, flip=0.5, small=small)
    assert found.corners.dtype == np.int32
    assert found.flips.dtype == np.uint8
    canvas = enlarged(array, crop) if small == "resize" else array
    extent = np.array([crop[1], crop[0]])
    assert (found.corners >= 0).all()
    larger = canvas >= extent
    assert (found.corners + extent <= canvas)[larger].all()
    if small == "tile" and position == "random":
        assert (found.corners < canvas)[~larger].all()  # whole tiles: never further than one tile in
    else:
        assert (found.corners == 0)[~larger].all()


def test_center_is_the_middle_rounded_down() -> None:
    sizes = np.array([[500, 375], [224, 225], [100, 300]])
    no_words = np.zeros((3, 3), np.uint32)
    found = windows(sizes, no_words, crop=(224, 224), position="center", flip=0, small="tile")
    assert found.corners.tolist() == [[138, 75], [0, 0], [0, 38]]
    assert not found.flips.any()


def test_torchvision_rounds_the_middle_half_to_even() -> None:
    sizes = np.array([[225, 227], [229, 224]])
    found = windows(sizes, words(2, 0), crop=(224, 224), position="torchvision", flip=1, small="tile")
    assert found.corners.tolist() == [[0, 2], [2, 0]]
    assert found.flips.all()


def test_random_windows_reach_every_place_evenly() -> None:
    sizes = np.full((60_000, 2), 12)
    found = windows(sizes, words(60_000, 1), crop=(10, 8), position="random", flip=0.5, small="tile")
    counts = np.bincount(found.corners[:, 0] * 3 + found.corners[:, 1], minlength=15)
    assert len(counts) == 15
    assert abs(counts - 4000).max() < 300
    assert abs(found.flips.mean() - 0.5) < 0.01


def test_tiles_begin_anywhere_when_random() -> None:
    sizes = np.full((5000, 2), 128)
    found = windows(sizes, words(5000, 1), crop=(224, 224), position="random", flip=0, small="tile")
    assert (found.corners.min(), found.corners.max()) == (0, 32)  # two tiles of 128, as NPR's training code


@pytest.mark.parametrize(
    ("size", "crop", "expected"),
    [
        ((128, 128), (224, 224), (224, 224)),
        ((100, 50), (224, 224), (448, 224)),
        ((50, 101), (224, 224), (224, 452)),
        ((300, 100), (224, 224), (672, 224)),
        ((500, 375), (224, 224), (500, 375)),
        ((10, 10), (20, 40), (40, 40)),
        ((1000, 3), (8, 8), (2666, 8)),
    ],
)
def test_enlarged_just_covers(size: tuple[int, int], crop: tuple[int, int], expected: tuple[int, int]) -> None:
    assert enlarged(np.array([size]), crop).tolist() == [list(expected)]
