"""Erasing, masks and patches against torchvision, albumentations and the rules of SAFE, SSP and PatchCraft."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from genimage_stream import transforms as T  # noqa: N812
from genimage_stream.decode import _core
from genimage_stream.transforms.chance import Chance
from genimage_stream.transforms.step import Image as Pixels
from genimage_stream.transforms.step import Sample, Size, ordinals_of
from tests.genimage_stream.transforms.references import (
    SEEDS,
    SIDES,
    albumentations,
    normals_by_rule,
    picture,
    torchvision,
)

ANY = settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])


@ANY
@given(SEEDS, SIDES, SIDES, st.sampled_from([0, 255, (1, 2, 3)]))
def test_erasing_equals_torchvision(seed: int, height: int, width: int, value: Any) -> None:
    import torch

    _, functional = torchvision()
    image = picture(seed, height, width)
    steps = [T.RandomErasing(1.0, value=value)]
    draw = T.draws_of(image, steps, seed=seed)[0]
    found = T.apply(image, steps, seed=seed)
    if not draw["applied"]:
        assert np.array_equal(found, image)
        return
    filled = torch.tensor(value if isinstance(value, tuple) else (value,)).to(torch.uint8)[:, None, None]
    box = draw["y"], draw["x"], draw["height"], draw["width"]
    expected = functional.erase(torch.from_numpy(image.transpose(2, 0, 1).copy()), *box, filled)
    assert np.array_equal(found, expected.numpy().transpose(1, 2, 0))


def test_erased_areas_and_ratios_are_within_bounds() -> None:
    image = picture(0, 100, 150)
    draws = [T.draws_of(image, [T.RandomErasing(0.5)], seed=seed)[0] for seed in range(600)]
    boxes = [draw for draw in draws if draw["applied"]]
    assert 250 < len(boxes) < 350
    areas = [box["width"] * box["height"] / 15000 for box in boxes]
    assert 0.015 < min(areas) < 0.04
    assert 0.28 < max(areas) < 0.34


@ANY
@given(SEEDS, SIDES, SIDES, st.sampled_from([((0.1, 0.4), (0.2, 0.3)), ((3, 8), (1, 5))]))
def test_dropout_equals_albumentations(seed: int, height: int, width: int, ranges: Any) -> None:
    albumentations()
    from albumentations.augmentations.dropout.functional import cutout

    image = picture(seed, height, width)
    steps = [T.CoarseDropout((1, 5), *ranges, fill=7, p=1.0)]
    holes = T.draws_of(image, steps, seed=seed)[0]["holes"]
    assert 1 <= len(holes) <= 5
    assert all(x + w <= width and y + h <= height for x, y, w, h in holes)
    ends = np.array([(x, y, x + w, y + h) for x, y, w, h in holes])
    expected = cutout(image, ends, 7, np.random.default_rng())
    assert np.array_equal(T.apply(image, steps, seed=seed), expected)


@ANY
@given(SEEDS, SIDES, SIDES, st.integers(1, 20), st.floats(0, 1))
def test_mask_zeroes_distinct_whole_cells(seed: int, height: int, width: int, cell: int, ratio: float) -> None:
    image = picture(seed, height, width) | 1  # no zeros
    steps = [T.PatchMask(cell, ratio)]
    cells = T.draws_of(image, steps, seed=seed)[0]["cells"]
    whole = (height // cell) * (width // cell)
    assert len(set(cells)) == len(cells) == min(int(height * width * ratio / cell**2), whole)
    expected = image.copy()
    for number in cells:
        y, x = number // (width // cell) * cell, number % (width // cell) * cell
        expected[y : y + cell, x : x + cell] = 0
    assert np.array_equal(T.apply(image, steps, seed=seed), expected)


def texture(patch: Pixels) -> int:
    p = patch.astype(np.int64)
    differences = (p[:, :-1] - p[:, 1:], p[:-1] - p[1:], p[:-1, :-1] - p[1:, 1:], p[1:, :-1] - p[:-1, 1:])
    return int(sum(np.abs(difference).sum() for difference in differences))


def patches_of(image: Pixels, corners: list[Any], side: int) -> list[Pixels]:
    patches = [image[y : y + side, x : x + side] for x, y in corners]
    return sorted(patches, key=texture)  # stable, as list.sort


@ANY
@given(SEEDS, SIDES, SIDES)
def test_ssp_keeps_the_poorest_patch(seed: int, height: int, width: int) -> None:
    image = picture(seed, height, width)
    steps = [T.TexturePatches("ssp")]
    corners = T.draws_of(image, steps, seed=seed)[0]["corners"]
    assert len(corners) == 64
    source = image
    if min(height, width) < 32:
        source = np.asarray(Image.fromarray(image).resize((256, 256), 2))
    assert np.array_equal(T.apply(image, steps, seed=seed), patches_of(source, corners, 32)[0])


@ANY
@given(SEEDS, st.integers(10, 200), st.integers(10, 200))
def test_patchcraft_lays_the_poorest_and_richest_out(seed: int, height: int, width: int) -> None:
    v2, _ = torchvision()
    image = picture(seed, height, width)
    steps = [T.TexturePatches("patchcraft", patch=16, count=20, kept=9)]
    corners = T.draws_of(image, steps, seed=seed)[0]["corners"]
    source = image if min(height, width) >= 16 else np.asarray(v2.Resize(16)(Image.fromarray(image)))
    patches = patches_of(source, corners, 16)

    def square(tiles: list[Pixels]) -> Pixels:
        return np.concatenate([np.concatenate(tiles[3 * row : 3 * row + 3], 1) for row in range(3)])

    expected = np.concatenate([square(patches[:9]), square(patches[::-1][:9])])
    assert np.array_equal(T.apply(image, steps, seed=seed), expected)


def planned(step: T.Step, height: int, width: int, seed: int) -> tuple[Any, Any]:
    """What a step draws, and its operation on normalised values."""
    sample = Sample(Chance(seed, 0, 0, bytes(8)), ordinals_of([step]))
    draw, operations, _ = step.plan(sample, 0, Size(width, height))
    return draw, operations


@ANY
@given(SEEDS, SIDES, SIDES)
def test_pixel_noise_of_normalised_values_follows_its_rule(
    instructions: str, seed: int, height: int, width: int
) -> None:
    draw, operations = planned(T.RandomErasing(1.0, value="random", after_normalize=True), height, width, seed)
    image = np.random.default_rng(seed).normal(size=(3, height, width)).astype(np.float32)
    expected = image.copy()
    if draw["applied"]:
        rows, columns = (slice(draw[at], draw[at] + draw[side]) for at, side in (("y", "height"), ("x", "width")))
        expected[:, rows, columns] = normals_by_rule(height, width, draw["key"]).transpose(2, 0, 1)[:, rows, columns]
    for operation in operations:
        _core.finish_floats(operation, image)
    assert np.array_equal(image, expected)


@ANY
@given(SEEDS, SIDES, SIDES, st.booleans())
def test_zeros_of_normalised_values_are_where_those_of_pixels_are(
    seed: int, height: int, width: int, erasing: bool
) -> None:
    image = np.full((height, width, 3), 9, np.uint8)
    plain: T.Step = T.RandomErasing(1.0) if erasing else T.PatchMask(4)
    after = replace(plain, after_normalize=True)  # type: ignore[type-var]
    values = np.full((3, height, width), 9, np.float32)
    for operation in planned(after, height, width, seed)[1]:
        _core.finish_floats(operation, values)
    expected = T.apply(image, [plain], seed=seed, sha256=bytes(8)).transpose(2, 0, 1)
    assert np.array_equal(values, expected)


@pytest.mark.parametrize("step", [T.PatchMask(after_normalize=True), T.RandomErasing(1.0, after_normalize=True)])
def test_what_acts_on_normalised_values_is_refused_for_pixels(step: T.Step) -> None:
    steps = [T.CenterCrop(8), T.RandomApply(step)]
    with pytest.raises(ValueError, match=r"step 1 of the transform, RandomApply.*normalised values"):
        T.apply(picture(0, 9, 9), steps)


@pytest.mark.parametrize(
    ("make", "wanted"),
    [
        (lambda: T.RandomErasing(value="random"), "after_normalize=True"),
        (lambda: T.RandomErasing(value=3, after_normalize=True), "fills with 0"),
        (lambda: T.PatchMask(after_normalize=1), "True or False"),  # type: ignore[arg-type]
        (lambda: T.RandomErasing(value=256), "from 0 to 255"),
        (lambda: T.RandomErasing(value=(1, 2)), "one value, or three"),  # type: ignore[arg-type]
        (lambda: T.CoarseDropout((3, 1)), "not be above"),
        (lambda: T.PatchMask(0), "cell"),
        (lambda: T.TexturePatches("patchcraft", kept=63), "square"),
        (lambda: T.TexturePatches("patchcraft", count=10), "not be above count"),
    ],
)
def test_impossible_arguments_are_refused(make: Any, wanted: str) -> None:
    with pytest.raises(ValueError, match=wanted):
        make()
