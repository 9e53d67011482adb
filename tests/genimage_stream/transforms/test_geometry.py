"""Resizing, cropping, mirroring and turning against Pillow, OpenCV, torchvision and NumPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from genimage_stream import transforms as T  # noqa: N812
from tests.genimage_stream.transforms.references import (
    PILLOW_FILTERS,
    SEEDS,
    SIDES,
    albumentations,
    cv2,
    picture,
    torchvision,
)

ANY = settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
FILTERS = st.sampled_from(sorted(PILLOW_FILTERS))
PADS = {"zeros": "constant", "reflect": "reflect", "symmetric": "symmetric"}


@ANY
@given(SEEDS, SIDES, SIDES, SIDES, SIDES, FILTERS)
def test_resize_to_both_sides_equals_pillow(
    instructions: str, seed: int, height: int, width: int, to_height: int, to_width: int, name: Any
) -> None:
    image = picture(seed, height, width)
    expected = Image.fromarray(image).resize((to_width, to_height), PILLOW_FILTERS[name])
    assert np.array_equal(T.apply(image, [T.Resize((to_height, to_width), filter=name)]), np.asarray(expected))


@pytest.mark.parametrize("name", sorted(PILLOW_FILTERS))
@pytest.mark.parametrize(("width", "to"), [(500, 341), (1024, 256), (1700, 240), (2000, 200), (3, 400)])
def test_resize_of_wide_rows_equals_pillow(instructions: str, width: int, to: int, name: Any) -> None:
    """The more an axis shrinks, the further apart are the pixels that vectors load at once."""
    image = picture(width, 13, width)
    expected = Image.fromarray(image).resize((to, 9), PILLOW_FILTERS[name])
    assert np.array_equal(T.apply(image, [T.Resize((9, to), filter=name)]), np.asarray(expected))


@ANY
@given(SEEDS, SIDES, SIDES, SIDES, FILTERS)
def test_resize_by_a_side_equals_torchvision(seed: int, height: int, width: int, side: int, name: Any) -> None:
    v2, functional = torchvision()
    image = picture(seed, height, width)
    if side * max(height, width) / min(height, width) < 3000:
        expected = functional.resize(Image.fromarray(image), [side], interpolation=v2.InterpolationMode(name))
        assert np.array_equal(T.apply(image, [T.Resize(side, filter=name)]), np.asarray(expected))
    if int(side * min(height, width) / max(height, width)) > 0:
        expected = v2.Resize(None, max_size=side, interpolation=v2.InterpolationMode(name))(Image.fromarray(image))
        assert np.array_equal(T.apply(image, [T.Resize(longest=side, filter=name)]), np.asarray(expected))


@ANY
@example(933460, 10, 77, 0.625, "hamming")
@given(SEEDS, SIDES, SIDES, st.floats(0.3, 2.5), FILTERS)
def test_scale_equals_pillow_and_opencv(seed: int, height: int, width: int, factor: float, name: Any) -> None:
    image = picture(seed, height, width)
    size = int(width * factor), int(height * factor)
    if min(size) < 1:
        return
    expected = Image.fromarray(image).resize(size, PILLOW_FILTERS[name])
    assert np.array_equal(T.apply(image, [T.RandomScale(factor, filter=name)]), np.asarray(expected))
    linear = cv2().resize(image, size, interpolation=cv2().INTER_LINEAR)
    if size != (width, height) and (2 * size[0], 2 * size[1]) != (width, height):
        assert np.array_equal(T.apply(image, [T.RandomScale(factor, like="cv2")]), linear)


@ANY
@given(SEEDS, SIDES, SIDES, SIDES, SIDES)
def test_center_crop_equals_torchvision(seed: int, height: int, width: int, crop_height: int, crop_width: int) -> None:
    v2, _ = torchvision()
    image = picture(seed, height, width)
    expected = v2.CenterCrop((crop_height, crop_width))(Image.fromarray(image))
    assert np.array_equal(T.apply(image, [T.CenterCrop((crop_height, crop_width))]), np.asarray(expected))


@ANY
@given(SEEDS, st.integers(40, 90), st.integers(40, 90), st.integers(1, 40), st.integers(1, 40))
def test_floor_center_crop_equals_albumentations(
    seed: int, height: int, width: int, crop_height: int, crop_width: int
) -> None:
    image = picture(seed, height, width)
    expected = albumentations().CenterCrop(crop_height, crop_width)(image=image)["image"]
    found = T.apply(image, [T.CenterCrop((crop_height, crop_width), rounding="floor")])
    assert np.array_equal(found, expected)


@ANY
@given(SEEDS, SIDES, SIDES, SIDES, SIDES, st.sampled_from(sorted(PADS)))
def test_random_crop_pads_as_torchvision(
    seed: int, height: int, width: int, crop_height: int, crop_width: int, pad: Any
) -> None:
    _, functional = torchvision()
    image = picture(seed, height, width)
    steps = [T.RandomCrop((crop_height, crop_width), pad=pad)]
    draw = T.draws_of(image, steps, seed=seed)[0]
    missing_x, missing_y = max(crop_width - width, 0), max(crop_height - height, 0)
    assert draw.get("pad", [0, 0, 0, 0]) == [missing_x, missing_y, missing_x, missing_y]
    padded = functional.pad(Image.fromarray(image), [missing_x, missing_y], padding_mode=PADS[pad])
    expected = functional.crop(padded, draw["y"] + missing_y, draw["x"] + missing_x, crop_height, crop_width)
    assert np.array_equal(T.apply(image, steps, seed=seed), np.asarray(expected))


@ANY
@given(SEEDS, SIDES, SIDES, SIDES, st.sampled_from([("zeros", 0), ("reflect", 4), ("symmetric", 2)]))
def test_centred_padding_equals_albumentations(
    seed: int, height: int, width: int, crop: int, pad: tuple[Any, int]
) -> None:
    image = picture(seed, height, width)
    whole = albumentations().PadIfNeeded(crop, crop, border_mode=pad[1], fill=0)(image=image)["image"]
    steps = [T.RandomCrop(crop, pad=pad[0], place="centre")]
    draw = T.draws_of(image, steps, seed=seed)[0]
    left, top = draw.get("pad", [0, 0])[:2]
    expected = whole[draw["y"] + top :, draw["x"] + left :][:crop, :crop]
    assert np.array_equal(T.apply(image, steps, seed=seed), expected)


@ANY
@given(SEEDS, SIDES, SIDES, SIDES)
def test_tiling_repeats_the_image(seed: int, height: int, width: int, crop: int) -> None:
    image = picture(seed, height, width)
    steps = [T.RandomCrop(crop, pad="tile")]
    draw = T.draws_of(image, steps, seed=seed)[0]
    tiled = np.tile(image, (-(-crop // height), -(-crop // width), 1))
    expected = tiled[draw["y"] :, draw["x"] :][:crop, :crop]
    assert expected.shape == (crop, crop, 3)
    assert np.array_equal(T.apply(image, steps, seed=seed), expected)
    if min(height, width) >= crop:
        tiled = image
    assert np.array_equal(T.apply(image, [T.Tile(crop)]), tiled)


@ANY
@given(SEEDS, SIDES, SIDES, st.integers(1, 64), FILTERS)
def test_random_resized_crop_crops_and_then_resizes(seed: int, height: int, width: int, side: int, name: Any) -> None:
    v2, functional = torchvision()
    image = picture(seed, height, width)
    steps = [T.RandomResizedCrop(side, filter=name)]
    draw = T.draws_of(image, steps, seed=seed)[0]
    expected = functional.resized_crop(
        Image.fromarray(image),
        draw["y"],
        draw["x"],
        draw["height"],
        draw["width"],
        [side, side],
        interpolation=v2.InterpolationMode(name),
    )
    assert np.array_equal(T.apply(image, steps, seed=seed), np.asarray(expected))


@ANY
@given(SEEDS, SIDES, SIDES, SIDES, SIDES)
def test_linear_resize_equals_opencv(seed: int, height: int, width: int, to_height: int, to_width: int) -> None:
    image = picture(seed, height, width)
    for size in ((to_height, to_width), (max(height // 2, 1), max(width // 2, 1))):  # OpenCV halves by another path
        expected = cv2().resize(image, size[::-1], interpolation=cv2().INTER_LINEAR)
        assert np.array_equal(T.apply(image, [T.Resize(size, like="cv2")]), expected)
    steps = [T.RandomResizedCrop((to_height, to_width), like="cv2")]
    draw = T.draws_of(image, steps, seed=seed)[0]
    x, y, w, h = (draw[name] for name in ("x", "y", "width", "height"))
    expected = cv2().resize(image[y : y + h, x : x + w], (to_width, to_height), interpolation=cv2().INTER_LINEAR)
    assert np.array_equal(T.apply(image, steps, seed=seed), expected)


def test_random_resized_crop_draws_areas_and_ratios_within_bounds() -> None:
    image = picture(0, 90, 120)
    boxes = [T.draws_of(image, [T.RandomResizedCrop(8)], seed=seed)[0] for seed in range(300)]
    areas = [box["width"] * box["height"] / (90 * 120) for box in boxes]
    ratios = [box["width"] / box["height"] for box in boxes]
    assert 0.07 < min(areas) < 0.15
    assert 0.85 < max(areas) <= 1.0
    assert 0.7 < min(ratios) < 0.8
    assert 1.25 < max(ratios) < 1.4
    assert abs(sum(map(math.log, ratios)) / 300) < 0.05


@ANY
@given(SEEDS, SIDES, SIDES)
def test_flips_and_quarter_turns_equal_numpy(seed: int, height: int, width: int) -> None:
    image = picture(seed, height, width)
    assert np.array_equal(T.apply(image, [T.RandomHorizontalFlip(1.0)]), image[:, ::-1])
    assert np.array_equal(T.apply(image, [T.RandomVerticalFlip(1.0)]), image[::-1])
    for turns in range(4):
        draw = {"step": "RandomRotate90", "applied": True, "angle": 90 * turns}
        assert np.array_equal(T.apply(image, [T.RandomRotate90()], [draw]), np.rot90(image, turns))


ANGLES = st.one_of(st.sampled_from([0.0, 90.0, 180.0, 270.0, -90.0, 360.0]), st.floats(-400, 400))


@ANY
@given(SEEDS, SIDES, SIDES, ANGLES)
def test_rotation_equals_torchvision(instructions: str, seed: int, height: int, width: int, angle: float) -> None:
    _, functional = torchvision()
    image = picture(seed, height, width)
    draw = {"step": "RandomRotation", "applied": True, "angle": angle}
    expected = functional.rotate(Image.fromarray(image), angle)
    assert np.array_equal(T.apply(image, [T.RandomRotation(180)], [draw]), np.asarray(expected))


@ANY
@given(
    SEEDS,
    SIDES,
    SIDES,
    ANGLES,
    st.tuples(st.integers(-30, 30), st.integers(-30, 30)),
    st.floats(0.3, 3),
    st.tuples(st.floats(-60, 60), st.floats(-60, 60)),
)
def test_affine_equals_torchvision(
    seed: int,
    height: int,
    width: int,
    angle: float,
    shift: tuple[int, int],
    scale: float,
    shear: tuple[float, float],
) -> None:
    _, functional = torchvision()
    image = picture(seed, height, width)
    draw = {
        "step": "RandomAffine",
        "applied": True,
        "angle": angle,
        "translate": list(shift),
        "scale": scale,
        "shear": list(shear),
    }
    expected = functional.affine(Image.fromarray(image), angle, list(shift), scale, list(shear))
    assert np.array_equal(T.apply(image, [T.RandomAffine(180)], [draw]), np.asarray(expected))


def test_an_affine_map_without_turning_equals_torchvision() -> None:
    _, functional = torchvision()
    image = picture(0, 50, 70)
    for shift, scale in [((0, 0), 0.7), ((5, -3), 1.0), ((-60, 2), 1.6)]:
        draw = {"step": "RandomAffine", "applied": True, "angle": 0.0, "translate": shift, "scale": scale}
        draw["shear"] = [0.0, 0.0]
        expected = functional.affine(Image.fromarray(image), 0.0, list(shift), scale, [0.0, 0.0])
        assert np.array_equal(T.apply(image, [T.RandomAffine(0)], [draw]), np.asarray(expected))


@pytest.mark.parametrize(
    ("make", "wanted"),
    [
        (T.Resize, "size or longest"),
        (lambda: T.Resize(3, longest=5), "size or longest"),
        (lambda: T.Resize(0), "from 1"),
        (lambda: T.Resize((3, 4, 5)), "height, width"),  # type: ignore[arg-type]
        (lambda: T.Resize(8, filter="gauss"), "one of"),  # type: ignore[arg-type]
        (lambda: T.RandomCrop(8, pad="mirror"), "one of"),  # type: ignore[arg-type]
        (lambda: T.Resize(8, "bicubic", like="cv2"), "linearly"),
        (lambda: T.RandomResizedCrop(8, like="PIL"), "one of"),  # type: ignore[arg-type]
        (lambda: T.Tile(0), "from 1"),
        (lambda: T.RandomHorizontalFlip(1.5), "from 0 to 1"),
        (lambda: T.RandomResizedCrop(8, scale=(0.5, 0.1)), "not be above"),
        (lambda: T.RandomRotation(-3), "negative"),
    ],
)
def test_impossible_arguments_are_refused(make: Any, wanted: str) -> None:
    with pytest.raises(ValueError, match=wanted):
        make()


def test_a_crop_that_does_not_fit_names_its_place() -> None:
    steps = [T.Resize((10, 20)), T.RandomCrop(12)]
    with pytest.raises(
        ValueError, match=r"step 1 of the transform, RandomCrop\(size=12.*larger than the image of 20x10"
    ):
        T.apply(picture(0, 30, 30), steps)
