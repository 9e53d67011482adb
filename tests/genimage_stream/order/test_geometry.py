"""Windows: inside the image, evenly spread, the same for a sample wherever it comes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genimage_stream.order.geometry import Position, Small, enlarged, sample_windows, windows
from genimage_stream.order.philox import sample_words

SIDE = st.integers(1, 700)


@settings(max_examples=200, deadline=None)
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
    words = sample_words(np.arange(len(sizes)), 0, seed=seed, epoch=0, stream=0)
    found = windows(array, words, crop=crop, position=position, flip=True, small=small)
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
    words = np.zeros((4, 3), np.uint32)
    found = windows(sizes, words, crop=(224, 224), position="center", flip=False, small="tile")
    assert found.corners.tolist() == [[138, 75], [0, 0], [0, 38]]
    assert not found.flips.any()


def test_random_windows_reach_every_place_evenly() -> None:
    rows = np.arange(60_000)
    found = sample_windows(
        rows, 0, np.full((len(rows), 2), 12), crop=(10, 8), position="random", flip=True, small="tile", seed=1, epoch=0
    )
    counts = np.bincount(found.corners[:, 0] * 3 + found.corners[:, 1], minlength=15)
    assert len(counts) == 15
    assert abs(counts - 4000).max() < 300
    assert abs(found.flips.mean() - 0.5) < 0.01


def test_tiles_begin_anywhere_when_random() -> None:
    rows = np.arange(5000)
    sizes = np.full((len(rows), 2), 128)
    found = sample_windows(
        rows, 0, sizes, crop=(224, 224), position="random", flip=False, small="tile", seed=1, epoch=0
    )
    assert (found.corners.min(), found.corners.max()) == (0, 32)  # two tiles of 128, as NPR's training code


def test_epochs_and_visits_get_windows_of_their_own() -> None:
    sizes = np.full((500, 2), 1000)
    options = {"crop": (10, 10), "position": "random", "flip": False, "small": "tile", "seed": 1}
    rows = np.arange(500)
    base = sample_windows(rows, 0, sizes, epoch=0, **options).corners  # type: ignore[arg-type]
    for other in (
        sample_windows(rows, 0, sizes, epoch=1, **options).corners,  # type: ignore[arg-type]
        sample_windows(rows, 1, sizes, epoch=0, **options).corners,  # type: ignore[arg-type]
    ):
        assert (base != other).any(axis=1).mean() > 0.99


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
