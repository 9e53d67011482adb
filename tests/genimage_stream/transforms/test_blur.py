"""Gaussian blur against SciPy, OpenCV and torchvision."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from genimage_stream import transforms as T  # noqa: N812
from genimage_stream.transforms.step import Image as Pixels
from tests.genimage_stream.transforms.references import SEEDS, SIDES, cv2, picture, torchvision

ANY = settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
SIGMAS = st.one_of(st.floats(0, 0.3), st.floats(0.1, 3), st.floats(0.1, 12))
ODD = st.integers(0, 15).map(lambda half: 2 * half + 1)


def by_scipy(image: Pixels, sigma: float) -> Pixels:
    """As CNNSpot's gaussian_blur: in place, channel by channel."""
    ndimage = pytest.importorskip("scipy.ndimage", reason="scipy is not installed")
    blurred = image.copy()
    for channel in range(3):
        ndimage.gaussian_filter(blurred[:, :, channel], output=blurred[:, :, channel], sigma=sigma)
    return blurred


@ANY
@given(SEEDS, SIDES, SIDES, SIGMAS)
def test_equals_scipy(instructions: str, seed: int, height: int, width: int, sigma: float) -> None:
    image = picture(seed, height, width)
    assert np.array_equal(T.apply(image, [T.GaussianBlur(sigma)]), by_scipy(image, sigma))


@ANY
@given(SEEDS, SIDES, SIDES, st.floats(0.01, 12))
def test_equals_opencv_by_sigma(instructions: str, seed: int, height: int, width: int, sigma: float) -> None:
    image = picture(seed, height, width)
    found = T.apply(image, [T.GaussianBlur(sigma, like="cv2")])
    assert np.array_equal(found, cv2().GaussianBlur(image, (0, 0), sigma))


@ANY
@given(SEEDS, SIDES, SIDES, ODD, st.one_of(st.just(0.0), SIGMAS))
def test_equals_opencv_by_kernel_size(
    instructions: str, seed: int, height: int, width: int, kernel_size: int, sigma: float
) -> None:
    image = picture(seed, height, width)
    found = T.apply(image, [T.GaussianBlur(sigma, kernel_size, like="cv2")])
    assert np.array_equal(found, cv2().GaussianBlur(image, (kernel_size, kernel_size), sigma))


@settings(ANY, max_examples=35)  # torchvision convolves in two dimensions, which takes its time
@given(SEEDS, SIDES, SIDES, ODD, st.floats(0.1, 6))
def test_equals_torchvision(
    instructions: str, seed: int, height: int, width: int, kernel_size: int, sigma: float
) -> None:
    _, functional = torchvision()
    assume(min(height, width) > kernel_size // 2)
    image = picture(seed, height, width)
    expected = functional.gaussian_blur(Image.fromarray(image), [kernel_size, kernel_size], [sigma, sigma])
    found = T.apply(image, [T.GaussianBlur(sigma, kernel_size, like="torchvision")])
    assert np.array_equal(found, np.asarray(expected))


def test_scipy_truncates_and_darkens() -> None:
    image = picture(1, 120, 130)
    blurred = T.apply(image, [T.GaussianBlur(2.0)]).astype(int)
    rounded = T.apply(image, [T.GaussianBlur(2.0, like="cv2")]).astype(int)
    assert 0.5 < (rounded - blurred).mean() < 1.5


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ({"sigma": -1.0}, "from 0"),
        ({"sigma": (3.0, 1.0)}, "must not be above"),
        ({"kernel_size": 3}, "derives it"),
        ({"like": "torchvision"}, "odd number"),
        ({"like": "torchvision", "kernel_size": 4}, "odd"),
        ({"like": "cv2", "sigma": 0.0}, "above 0"),
        ({"like": "PIL"}, "one of"),
    ],
)
def test_impossible_arguments_are_refused(arguments: dict[str, object], wanted: str) -> None:
    with pytest.raises(ValueError, match=f"GaussianBlur.*{wanted}"):
        T.GaussianBlur(**arguments)  # type: ignore[arg-type]
