"""Colours against Pillow, torchvision and albumentations; noise against its rule written in NumPy."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from genimage_stream import transforms as T  # noqa: N812
from genimage_stream.decode import _core
from genimage_stream.transforms.step import Image as Pixels
from tests.genimage_stream.transforms.references import (
    SEEDS,
    SIDES,
    albumentations,
    cv2,
    normals_by_rule,
    picture,
    torchvision,
)

ANY = settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
FACTORS = st.one_of(st.sampled_from([0.0, 1.0, 0.5, 2.0]), st.floats(0, 4))


def all_colours() -> Pixels:
    """Every 24-bit colour whose channels are multiples of 5 or near the ends, and every gray."""
    levels = np.array(sorted({*range(0, 256, 5), 1, 2, 127, 128, 253, 254}), np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3)
    return np.concatenate([grid, np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 256, 3)], 1)


def test_gray_equals_torchvision(instructions: str) -> None:
    _, functional = torchvision()
    image = all_colours()
    expected = functional.rgb_to_grayscale(Image.fromarray(image), num_output_channels=3)
    assert np.array_equal(T.apply(image, [T.RandomGrayscale(1.0)]), np.asarray(expected))


def test_gray_equals_opencv(instructions: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), dtype=np.uint8)
    expected = cv2().cvtColor(image, cv2().COLOR_RGB2GRAY)[..., None].repeat(3, 2)
    assert np.array_equal(T.apply(image, [T.RandomGrayscale(1.0, like="cv2")]), expected)


@pytest.mark.parametrize("factor", [0.0, 0.3, 1.0, 1.7, 5.0])
def test_enhancements_of_every_colour_equal_pillow(instructions: str, factor: float) -> None:
    image = all_colours()
    for make, enhance in (
        (_core.brightness_step, ImageEnhance.Brightness),
        (_core.contrast_step, ImageEnhance.Contrast),
        (_core.saturation_step, ImageEnhance.Color),
    ):
        expected = np.asarray(enhance(Image.fromarray(image)).enhance(factor))
        assert np.array_equal(_core.run_steps(image, [make(factor)], None), expected)


@pytest.mark.parametrize("factor", [-0.5, -0.31, -0.001, 0.0, 0.004, 0.2, 0.5])
def test_hue_of_every_colour_equals_torchvision(factor: float) -> None:
    _, functional = torchvision()
    image = all_colours()
    draw = {"step": "ColorJitter", "applied": True, "order": [3, 0, 1, 2], "hue": factor}
    draw |= dict.fromkeys(("brightness", "contrast", "saturation"))
    expected = functional.adjust_hue(Image.fromarray(image), factor)
    assert np.array_equal(T.apply(image, [T.ColorJitter(hue=0.5)], [draw]), np.asarray(expected))


@ANY
@given(SEEDS, SIDES, SIDES, FACTORS, FACTORS, FACTORS, st.floats(-0.5, 0.5), st.permutations(range(4)))
def test_jitter_equals_torchvision_in_every_order(
    seed: int,
    height: int,
    width: int,
    brightness: float,
    contrast: float,
    saturation: float,
    hue: float,
    order: list[int],
) -> None:
    _, functional = torchvision()
    image = picture(seed, height, width)
    draw: dict[str, Any] = {"step": "ColorJitter", "applied": True, "order": order, "brightness": brightness}
    draw |= {"contrast": contrast, "saturation": saturation, "hue": hue}
    expected = Image.fromarray(image)
    for which in order:
        name = ("brightness", "contrast", "saturation", "hue")[which]
        expected = getattr(functional, f"adjust_{name}")(expected, draw[name])
    assert np.array_equal(T.apply(image, [T.ColorJitter(1, 1, 1, 0.5)], [draw]), np.asarray(expected))


def test_jitter_draws_within_its_bounds_and_all_orders() -> None:
    image = picture(0, 4, 4)
    draws = [T.draws_of(image, [T.ColorJitter(0.4, 2.0, hue=(-0.1, 0.3))], seed=seed)[0] for seed in range(400)]
    assert {tuple(draw["order"]) for draw in draws} == set(itertools.permutations(range(4)))
    assert 0.6 <= min(draw["brightness"] for draw in draws) < 0.65
    assert 0.0 <= min(draw["contrast"] for draw in draws) < 0.1
    assert all(draw["saturation"] is None for draw in draws)
    assert 0.25 < max(draw["hue"] for draw in draws) <= 0.3


@ANY
@given(SEEDS, st.floats(-0.9, 0.9), st.floats(-0.9, 0.9))
def test_brightness_and_contrast_equal_albumentations(seed: int, brightness: float, contrast: float) -> None:
    image = picture(seed, 40, 50)
    albu = albumentations()
    step = albu.RandomBrightnessContrast(
        brightness_limit=(brightness, brightness),
        contrast_limit=(contrast, contrast),
        brightness_by_max=True,
        ensure_safe_range=False,
        p=1.0,
    )
    ours = T.RandomBrightnessContrast((brightness, brightness), (contrast, contrast), 1.0)
    assert np.array_equal(T.apply(image, [ours]), step(image=image)["image"])


def noise_by_rule(image: Pixels, key: str, offset: float, scale: float) -> Pixels:
    f = np.float32
    z = normals_by_rule(*image.shape[:2], key)
    value = np.clip(image.astype(f) + (f(offset) + f(scale) * z), f(0), f(255))
    return np.rint(value).astype(np.uint8)


@ANY
@given(SEEDS, SIDES, SIDES, st.floats(0, 0.5), st.floats(-0.2, 0.2))
def test_noise_follows_its_rule(
    instructions: str, seed: int, height: int, width: int, sigma: float, mean: float
) -> None:
    image = picture(seed, height, width)
    steps = [T.GaussianNoise(sigma, mean)]
    draw = T.draws_of(image, steps, seed=seed)[0]
    expected = noise_by_rule(image, draw["key"], mean * 255, draw["sigma"] * 255)
    assert np.array_equal(T.apply(image, steps, seed=seed), expected)


def test_noise_is_normal_and_independent_between_channels_and_pixels() -> None:
    image = np.full((400, 500, 3), 128, np.uint8)
    noise = T.apply(image, [T.GaussianNoise(0.1)]).astype(float) - 128
    assert abs(noise.mean()) < 0.2
    assert abs(noise.std() - 25.5) < 0.2
    assert abs((noise**4).mean() / noise.std() ** 4 - 3) < 0.05
    flat = noise.reshape(-1, 3)
    correlations = [*np.corrcoef(flat.T)[np.triu_indices(3, 1)], np.corrcoef(flat[:-1, 0], flat[1:, 0])[0, 1]]
    assert max(map(abs, correlations)) < 0.02


def test_noise_by_variance_draws_the_variance() -> None:
    image = np.zeros((1, 1, 3), np.uint8)
    variances = [
        (T.draws_of(image, [T.GaussianNoise(var_limit=(10, 50))], seed=seed)[0]["sigma"] * 255) ** 2
        for seed in range(400)
    ]
    assert all(10 <= variance <= 50.001 for variance in variances)
    assert abs(np.mean(variances) - 30) < 2


@pytest.mark.parametrize(
    ("make", "wanted"),
    [
        (lambda: T.GaussianNoise(0.1, var_limit=(1, 2)), "var_limit"),
        (lambda: T.RandomGrayscale(like="PIL"), "one of"),  # type: ignore[arg-type]
        (lambda: T.ColorJitter(hue=0.7), "hue"),
        (lambda: T.ColorJitter(brightness=-1), "brightness"),
        (lambda: T.ColorJitter(contrast=(2, 1)), "contrast"),
        (lambda: T.GaussianNoise(-0.1), "sigma"),
        (lambda: T.RandomGrayscale(2), "from 0 to 1"),
        (lambda: T.RandomBrightnessContrast(-0.1), "brightness_limit"),
    ],
)
def test_impossible_arguments_are_refused(make: Any, wanted: str) -> None:
    with pytest.raises(ValueError, match=wanted):
        make()
