"""JPEGs that the core writes are those that Pillow writes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

import genimage_stream as gs
from genimage_stream import transforms
from genimage_stream.decode import _core


@pytest.mark.parametrize("quality", [1, 50, 75, 100])
@pytest.mark.parametrize("size", [(1, 1), (75, 101), (64, 48)])
def test_the_pixels_are_those_of_pillow(quality: int, size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    written = _core.encode_jpeg(pixels, quality)
    expected = io.BytesIO()
    Image.fromarray(pixels).save(expected, "JPEG", quality=quality)
    assert np.array_equal(gs.decode(written), np.asarray(Image.open(expected)))
    assert np.array_equal(gs.decode(written), transforms.apply(pixels, [transforms.JPEG(quality)]))


@pytest.mark.parametrize("shape", [(0, 4, 3), (4, 4), (4, 4, 4)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(height, width, 3\)"):
        _core.encode_jpeg(np.zeros(shape, np.uint8), 75)


def test_a_size_that_no_jpeg_has_is_refused() -> None:
    with pytest.raises(gs.DecodeError):
        _core.encode_jpeg(np.zeros((1, 70000, 3), np.uint8), 75)
