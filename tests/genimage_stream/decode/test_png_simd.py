"""The vector paths of PNG decoding against the plain one, and that against NumPy, on random files and crops."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from genimage_stream.decode import _core, decode
from tests.fixtures import png

BEST = _core.simd_level()


@pytest.fixture(autouse=True)
def restore_simd_level() -> Iterator[None]:
    yield
    _core.set_simd_level(BEST)


@pytest.mark.parametrize("level", range(BEST + 1))
@pytest.mark.parametrize(("color", "depth"), png.FORMATS)
def test_each_level_is_right(level: int, color: int, depth: int) -> None:
    _core.set_simd_level(level)
    rng = np.random.default_rng(color * 20 + depth)
    for _ in range(25):
        width, height = int(rng.integers(1, 90)), int(rng.integers(1, 60))
        samples = png.random_samples(rng, height, width, color, depth)
        if rng.random() < 0.5:  # white noise: every case of the predictors
            samples = rng.integers(0, 1 << depth, samples.shape).astype(np.uint16)
        weights = rng.dirichlet([0.4] * 5)
        filters = rng.choice(5, height * 3, p=weights).tolist()
        interlace = bool(rng.random() < 0.2)
        data = png.write_png(samples, color, depth, filters=filters, interlace=interlace, level=1)
        full = png.as_rgb(samples, color, depth)
        np.testing.assert_array_equal(decode(data), full)
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        w, h = int(rng.integers(1, width - x + 1)), int(rng.integers(1, height - y + 1))
        np.testing.assert_array_equal(decode(data, crop=(x, y, w, h)), full[y : y + h, x : x + w])


def test_every_triple_of_neighbours() -> None:
    """Paeth and Average of all corners of the cube of (left, above, above left), and of many points within."""
    rng = np.random.default_rng(0)
    values = np.unique(np.concatenate([[0, 1, 2, 127, 128, 254, 255], rng.integers(0, 256, 20)]))
    c, b, a = (v.reshape(-1) for v in np.meshgrid(values, values, values, indexing="ij"))
    x = rng.integers(0, 256, a.shape)
    samples = np.empty((2 * 16, (len(a) + 15) // 16 * 2, 1), np.uint16)
    pad = samples.shape[1] // 2 * 16 - len(a)
    quads = [np.pad(v, (0, pad)).reshape(16, -1) for v in (c, b, a, x)]
    samples[0::2, 0::2, 0], samples[0::2, 1::2, 0], samples[1::2, 0::2, 0], samples[1::2, 1::2, 0] = quads
    for kind in (3, 4):
        data = png.write_png(samples, png.GRAY, 8, filters=kind)
        for level in range(BEST + 1):
            _core.set_simd_level(level)
            np.testing.assert_array_equal(decode(data)[..., :1], samples)
