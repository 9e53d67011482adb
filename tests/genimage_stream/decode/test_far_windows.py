"""Windows that lie far beyond a small image, and images so long that sizes stop fitting: pixels, or an error."""

from __future__ import annotations

import io
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

import genimage_stream as gs
from genimage_stream.decode.batch import covering_size
from tests.fixtures.png import GRAY, SIGNATURE, chunk, ihdr

FAR = 2**31 - 1
FILL = (1, 2, 3)


def encoded(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def one_bit_gray(width: int, height: int) -> bytes:
    """A black PNG of any size in a few bytes."""
    rows = zlib.compress(bytes((1 + (width + 7) // 8) * height))
    return SIGNATURE + ihdr(width, height, 1, GRAY) + chunk(b"IDAT", rows) + chunk(b"IEND")


def sources(begin: int, count: int, size: int, policy: str) -> list[int | None]:
    """The rule of `small`, with Python's integers."""
    places: list[int | None] = []
    for at in range(begin, begin + count):
        if at < size:
            places.append(at)
        elif policy == "constant":
            places.append(None)
        elif policy == "tile":
            places.append(at % size)
        else:
            phase = at % max(1, 2 * (size - 1))
            places.append(min(phase, 2 * (size - 1) - phase))
    return places


@pytest.mark.parametrize("policy", ["tile", "reflect", "constant"])
@pytest.mark.parametrize("corner", [(FAR, 0), (0, FAR), (FAR, FAR), (FAR - 5, FAR - 40), (2**30, 2**30 + 1), (3, 2)])
def test_window_far_beyond_the_image(policy: str, corner: tuple[int, int]) -> None:
    """Found by review: sums of the corner and the place in the window left an int and read before the image."""
    pixels = np.random.default_rng(2).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    out = np.zeros((1, 3, 24, 32), np.uint8)
    options: Any = {"small": policy, "fill": FILL if policy == "constant" else (0, 0, 0)}
    assert gs.decode_batch([encoded(pixels)], out, crops=[corner], flips=[0], **options) == []
    across, down = sources(corner[0], 32, 7, policy), sources(corner[1], 24, 5, policy)
    want = [[FILL if x is None or y is None else pixels[y, x] for x in across] for y in down]
    np.testing.assert_array_equal(out[0].transpose(1, 2, 0), np.array(want, np.uint8))


@pytest.mark.parametrize("before", [1, 20_000, 50_000])
def test_wide_window_far_beyond_a_wide_image(before: int) -> None:
    ramp = (np.arange(60_000) % 251).astype(np.uint8)
    out = np.zeros((1, 3, 2, 65_535), np.uint8)
    crop = (FAR - before, 0)
    assert gs.decode_batch([encoded(np.repeat(ramp[None, :, None], 3, axis=2))], out, crops=[crop]) == []
    want = ramp[(crop[0] + np.arange(65_535, dtype=np.int64)) % 60_000]
    assert (out == want).all()


def test_covering_size_of_long_thin_images() -> None:
    for size, window in (((1, 20_000_000), (224, 224)), ((20_000_000, 1), (224, 224)), ((1, FAR), (65_535, 65_535))):
        (width, height), (wide, high) = size, window
        grown = max(wide, width * high // height), max(high, height * wide // width)
        assert covering_size(size, window) == (grown if width < height else (width * high // height, high))
    with pytest.raises(ValueError, match="at least 1"):
        covering_size((0, 5), (5, 5))
    with pytest.raises(ValueError, match="at most"):
        covering_size((2**40, 5), (5, 5))


def test_small_resize_of_a_long_thin_image_is_its_error() -> None:
    out = np.zeros((2, 3, 224, 224), np.uint8)
    good = np.full((300, 300, 3), 9, np.uint8)
    errors = gs.decode_batch([one_bit_gray(1, 20_000_000), encoded(good)], out, crops=[(0, 0)] * 2, small="resize")
    assert [(e.index, e.kind) for e in errors] == [(0, "decode")]
    assert "cannot be resized to 224x4480000000" in errors[0].message
    assert (out[1] == 9).all()


def test_an_image_that_nobody_resizes_may_be_as_long_as_it_likes() -> None:
    out = np.full((1, 3, 4, 4), 7, np.uint8)
    for small in ("tile", "reflect", "constant", "resize"):
        data = one_bit_gray(2_000_000, 10)
        assert gs.decode_batch([data], out, crops=[(1_999_990, 3)], small=small) == []  # type: ignore[arg-type]
        assert not out.any()
    (error,) = gs.decode_batch([data], out, crops=[(0, 0)], resized=[(2_000_000, 4)])
    assert "cannot be resized to 2000000x4" in error.message


@pytest.mark.parametrize("size", [((1 << 20) + 1, 1), (1, (1 << 20) + 1)])
def test_the_weights_of_a_resize_are_bounded(size: tuple[int, int]) -> None:
    """A few bytes of PNG must not make the weights of an axis take gigabytes."""
    out = np.zeros((1, 3, 1, 1), np.uint8)
    data = one_bit_gray(*size)
    for options in ({"resized": [(1, 1)]}, {"boxes": [(0, 0, *size)]}):
        (error,) = gs.decode_batch([data], out, crops=[(0, 0)], **options)
        assert "more than 1048576 pixels" in error.message
        assert "smaller box" in error.message
    part = (1 << 20, 1) if size[1] == 1 else (1, 1 << 20)
    assert gs.decode_batch([data], out, crops=[(0, 0)], boxes=[(0, 0, *part)]) == []
