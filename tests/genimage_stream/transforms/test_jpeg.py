"""JPEG round trips without entropy coding against the codecs' own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genimage_stream import transforms as T  # noqa: N812
from tests.genimage_stream.transforms.references import SEEDS, SIDES, albumentations, by_pillow, cv2, picture

ANY = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@ANY
@given(SEEDS, SIDES, SIDES, st.integers(1, 100), st.sampled_from([("420", 2), ("422", 1), ("444", 0)]))
def test_equals_pillow(
    instructions: str, seed: int, height: int, width: int, quality: int, chroma: tuple[str, int]
) -> None:
    image = picture(seed, height, width)
    found = T.apply(image, [T.JPEG(quality, chroma=chroma[0])])  # type: ignore[arg-type]
    assert np.array_equal(found, by_pillow(image, quality, chroma[1]))


@pytest.mark.parametrize("quality", range(1, 101))
def test_equals_opencv_at_every_quality(quality: int) -> None:
    image = picture(quality, 50, 67)
    _, file = cv2().imencode(".jpg", image[..., ::-1], [cv2().IMWRITE_JPEG_QUALITY, quality])
    assert np.array_equal(T.apply(image, [T.JPEG(quality)]), cv2().imdecode(file, 1)[..., ::-1])


@pytest.mark.parametrize("quality", [1, 30, 77, 100])
def test_swapped_channels_equal_albumentations(quality: int) -> None:
    for seed in range(5):
        image = picture(seed, 41, 58)
        step = albumentations().ImageCompression(quality_range=(quality, quality), p=1.0)
        assert np.array_equal(T.apply(image, [T.JPEG(quality, channels="bgr")]), step(image=image)["image"])


def test_quality_is_drawn_from_both_ends_of_the_range() -> None:
    image = picture(0, 8, 8)
    found = {T.draws_of(image, [T.JPEG((30, 32))], seed=seed)[0]["quality"] for seed in range(60)}
    assert found == {30, 31, 32}


@pytest.mark.parametrize("quality", [0, 101, (0, 5), (50, 30), 3.5, "80", True])
def test_impossible_qualities_are_refused(quality: object) -> None:
    with pytest.raises(ValueError, match=r"JPEG\(quality="):
        T.JPEG(quality)  # type: ignore[arg-type]
