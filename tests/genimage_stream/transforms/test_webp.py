"""WebP round trips beside Pillow's."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from genimage_stream import transforms as T  # noqa: N812
from genimage_stream.decode import _core
from genimage_stream.transforms.degradations import steps_of_degradation
from tests.genimage_stream.transforms.references import SEEDS, picture

# Versions of libwebp that are known to write the same files; of others nobody promises it.
ALIKE = {"1.2.4", "1.6.0"}
VERSIONS = {_core.library_versions()["libwebp"], features.version("webp") or "none"}

pytestmark = pytest.mark.skipif(not features.check("webp"), reason="this Pillow has no WebP")


def by_pillow(pixels: np.ndarray, quality: int) -> np.ndarray:
    to = io.BytesIO()
    Image.fromarray(pixels).save(to, "WEBP", quality=quality)
    return np.asarray(Image.open(to).convert("RGB"))


def assert_pillows(found: np.ndarray, pixels: np.ndarray, quality: int) -> None:
    want = by_pillow(pixels, quality)
    if len(VERSIONS) == 1 or VERSIONS <= ALIKE:
        np.testing.assert_array_equal(found, want)
    else:
        assert np.abs(found.astype(int) - want).mean() < 1


@settings(max_examples=60)
@given(SEEDS, st.integers(1, 70), st.integers(1, 70), st.integers(0, 100))
def test_equals_pillow(seed: int, height: int, width: int, quality: int) -> None:
    pixels = picture(seed, height, width)
    assert_pillows(T.apply(pixels, [T.WebP(quality)]), pixels, quality)
    crop = T.RandomCrop((max(1, height // 2), max(1, width // 3)))
    steps = [T.WebP(quality), crop]
    draws = T.draws_of(pixels, steps, seed=seed)
    x, y = draws[1]["x"], draws[1]["y"]
    whole = T.apply(pixels, [T.WebP(quality)])
    np.testing.assert_array_equal(
        T.apply(pixels, steps, draws),
        whole[y : y + crop.size[0], x : x + crop.size[1]],  # type: ignore[index]
    )


def test_by_its_text_without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = picture(3, 90, 120)
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "PIL", None)
        found = T.apply(pixels, steps_of_degradation("webp:80"))
    assert_pillows(found, pixels, 80)


def test_draws_its_quality() -> None:
    pixels, steps = picture(4, 40, 50), [T.WebP((10, 90))]
    draws = T.draws_of(pixels, steps)
    assert 10 <= draws[0]["quality"] <= 90
    assert_pillows(T.apply(pixels, steps, draws), pixels, draws[0]["quality"])


def test_ends_at_16383_pixels() -> None:
    with pytest.raises(ValueError, match="too large for WebP"):
        T.apply(np.zeros((1, 16384, 3), np.uint8), [T.WebP(80)])
    assert T.apply(np.zeros((1, 16383, 3), np.uint8), [T.WebP(80)]).shape == (1, 16383, 3)
