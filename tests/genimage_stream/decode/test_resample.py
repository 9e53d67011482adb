"""Resizing against Pillow, bit for bit, and the policies for images smaller than the window."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import PIL
import pytest
from PIL import Image

import genimage_stream as gs
from genimage_stream.decode import _core, covering_size

PILLOW = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def picture(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Noise over waves: overshoots at edges, so that clipping is exercised."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([128 + 140 * np.sin(x / 5 + k) * np.cos(y / (4 + k)) for k in range(3)], axis=2)
    return np.clip(waves + rng.normal(0, 40, waves.shape), 0, 255).astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def one(data: bytes, window: tuple[int, int], crop: tuple[int, int] = (0, 0), **options: Any) -> np.ndarray:
    """The window (width, height) of one image as (height, width, 3); raises what the image's error says."""
    out = np.full((1, 3, window[1], window[0]), 123, np.uint8)
    arrays = {name: [options.pop(name)] for name in ("boxes", "resized", "flips") if name in options}
    errors = gs.decode_batch([data], out, crops=[crop], threads=1, **arrays, **options)
    if errors:
        assert not out.any()
        raise gs.DecodeError(errors[0].message)
    return out[0].transpose(1, 2, 0)


def by_pillow(
    pixels: np.ndarray, to: tuple[int, int], resample: str, box: tuple[float, ...] | None = None
) -> np.ndarray:
    """Pillow's `resize`, in the order of passes of Pillow 13 whatever version is installed."""
    height, width = pixels.shape[:2]
    box = box or (0, 0, width, height)
    image, how = Image.fromarray(pixels), PILLOW[resample]
    down_first = to[1] < height and height - to[1] > 2 * (width - to[0])
    if down_first:
        image = image.resize((width, to[1]), how, box=(0, box[1], width, box[3]))
        image = image.resize(to, how, box=(box[0], 0, box[2], to[1]))
    else:
        image = image.resize((to[0], height), how, box=(box[0], 0, box[2], height))
        image = image.resize(to, how, box=(0, box[1], to[0], box[3]))
    if int(PIL.__version__.split(".")[0]) >= 13 or not down_first:
        straight = Image.fromarray(pixels).resize(to, how, box=box)
        np.testing.assert_array_equal(np.asarray(image), np.asarray(straight))
    return np.asarray(image)


@pytest.fixture(params=[0, 2, 3])
def level(request: pytest.FixtureRequest) -> Any:
    before = _core.simd_level()
    if request.param > before:
        pytest.skip(f"this CPU has no SIMD level {request.param}")
    _core.set_simd_level(request.param)
    yield request.param
    _core.set_simd_level(before)


@pytest.mark.parametrize("resample", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    ("size", "to"),
    [
        ((500, 375), (341, 256)),
        ((500, 375), (224, 224)),
        ((64, 48), (224, 168)),
        ((224, 224), (224, 224)),
        ((37, 211), (90, 35)),
        ((1, 1), (5, 7)),
        ((3, 2), (1, 1)),
        ((300, 5), (7, 5)),
        ((1000, 3), (1, 1)),
        ((200, 200), (150, 99)),
        ((200, 200), (150, 100)),
        ((90, 200), (90, 70)),
        ((200, 90), (70, 90)),
    ],
)
def test_equals_pillow(size: tuple[int, int], to: tuple[int, int], resample: Any, level: int) -> None:
    pixels = picture(*size)
    want = by_pillow(pixels, to, resample)
    np.testing.assert_array_equal(one(png(pixels), to, resized=to, resample=resample), want)


@pytest.mark.parametrize("resample", ["bilinear", "bicubic"])
def test_random_boxes_crops_and_flips(resample: Any, level: int) -> None:
    rng = np.random.default_rng(11)
    for seed in range(60):
        width, height = (int(v) for v in rng.integers(1, 200, 2))
        pixels = picture(width, height, seed)
        left, right = sorted(rng.uniform(0, width, 2))
        top, bottom = sorted(rng.uniform(0, height, 2))
        if seed % 3 == 0:
            left, top, right, bottom = (float(int(v)) for v in (left, top, right + 1, bottom + 1))
        box = np.array([left, top, right - left, bottom - top], np.float32)
        corners = (box[0], box[1], np.float32(float(box[0]) + float(box[2])), np.float32(float(box[1]) + float(box[3])))
        if box[2] <= 0 or box[3] <= 0 or corners[2] > width or corners[3] > height:
            continue
        to = tuple(int(v) for v in rng.integers(1, 150, 2))
        want = by_pillow(pixels, to, resample, tuple(map(float, corners)))
        window = tuple(int(rng.integers(1, side + 1)) for side in to)
        x, y = (int(rng.integers(0, side - part + 1)) for side, part in zip(to, window, strict=True))
        want = want[y : y + window[1], x : x + window[0]]
        if seed % 2:
            want = want[:, ::-1]
        got = one(png(pixels), window, (x, y), boxes=box, resized=to, resample=resample, flips=seed % 2)
        np.testing.assert_array_equal(got, want, err_msg=f"{width}x{height} {box} to {to}, {window} at {x},{y}")


def test_box_alone_is_resized_to_the_window() -> None:
    pixels = picture(120, 90)
    want = by_pillow(pixels, (32, 24), "bilinear", (10, 20, 90, 70))
    np.testing.assert_array_equal(one(png(pixels), (32, 24), boxes=(10, 20, 80, 50)), want)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"boxes": (0, 0, 121, 90)}, "box leaves the image of 120x90"),
        ({"boxes": (-1, 0, 20, 20)}, "box leaves"),
        ({"boxes": (5, 5, 0, 20)}, "box is empty"),
        ({"boxes": (float("nan"), 0, 20, 20)}, "box leaves"),
        ({"boxes": (0, 0, float("inf"), 20)}, "box leaves"),
        ({"resized": (0, 5)}, "cannot be resized to 0x5"),
        ({"resized": (2**30, 5)}, "cannot be resized"),
        ({"resized": (40, 40), "crop": (10, 9)}, "leaves the image of 40x40"),
        ({"crop": (-1, 0)}, "leaves the image of 120x90"),
        ({"crop": (2**31 - 1, 0)}, "leaves the image of 120x90"),
    ],
)
def test_impossible_geometry_is_the_images_error(options: dict[str, Any], said: str) -> None:
    with pytest.raises(gs.DecodeError, match=said):
        one(png(picture(120, 90)), (32, 32), **options)


def extended(pixels: np.ndarray, policy: str, rows: int, columns: int) -> np.ndarray:
    """The canvas by NumPy: the image continued to the right and downwards."""
    more = ((0, max(0, rows - pixels.shape[0])), (0, max(0, columns - pixels.shape[1])), (0, 0))
    return np.pad(pixels, more, {"tile": "wrap", "reflect": "reflect"}[policy])


@pytest.mark.parametrize("policy", ["tile", "reflect"])
@pytest.mark.parametrize("size", [(128, 128), (50, 300), (300, 50), (1, 1), (2, 3), (99, 100), (100, 99)])
@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_tile_and_reflect(size: tuple[int, int], policy: Any, form: str) -> None:
    file = io.BytesIO()
    Image.fromarray(picture(*size)).save(file, form)
    pixels = gs.decode(file.getvalue())
    canvas = extended(pixels, policy, 400, 400)
    for x, y in [(0, 0), (3, 0), (0, 5), (120, 130)]:
        at = (
            min(x, max(0, size[0] - 100)) if size[0] >= 100 else x,
            min(y, max(0, size[1] - 100)) if size[1] >= 100 else y,
        )
        got = one(file.getvalue(), (100, 100), at, small=policy)
        np.testing.assert_array_equal(got, canvas[at[1] : at[1] + 100, at[0] : at[0] + 100])


def test_constant() -> None:
    pixels = picture(40, 30)
    got = one(png(pixels), (64, 64), (7, 3), small="constant", fill=(1, 2, 255))
    want = np.full((64, 64, 3), (1, 2, 255), np.uint8)
    want[:27, :33] = pixels[3:, 7:]
    np.testing.assert_array_equal(got, want)
    beyond = one(png(pixels), (64, 64), (50, 50), small="constant", fill=(9, 8, 7))
    assert (beyond == (9, 8, 7)).all()


@pytest.mark.parametrize("size", [(128, 128), (100, 200), (200, 100), (300, 50), (1, 1), (223, 224), (500, 500)])
def test_resize_enlarges_until_the_window_is_covered(size: tuple[int, int]) -> None:
    pixels = picture(*size)
    cover = covering_size(size, (224, 224))
    assert min(cover) == 224 or (cover == size and min(cover) > 224)
    want = by_pillow(pixels, cover, "bilinear")
    x, y = cover[0] - 224, (cover[1] - 224) // 2
    np.testing.assert_array_equal(
        one(png(pixels), (224, 224), (x, y), small="resize", resample="bicubic"), want[y : y + 224, x : x + 224]
    )


def test_small_after_a_resize() -> None:
    """A resized image may be smaller than the window too: it is tiled, or enlarged in one step."""
    pixels = picture(200, 100)
    small = by_pillow(pixels, (60, 40), "bicubic")
    tiled = one(png(pixels), (100, 100), resized=(60, 40), resample="bicubic")
    np.testing.assert_array_equal(tiled, np.tile(small, (3, 2, 1))[:100, :100])
    straight = by_pillow(pixels, (150, 100), "bicubic")[:, :100]
    enlarged = one(png(pixels), (100, 100), resized=(60, 40), resample="bicubic", small="resize")
    np.testing.assert_array_equal(enlarged, straight)


def test_covering_size() -> None:
    assert covering_size((100, 200), (224, 224)) == (224, 448)
    assert covering_size((300, 50), (224, 224)) == (1344, 224)
    assert covering_size((224, 224), (224, 224)) == (224, 224)
    assert covering_size((100, 100), (200, 50)) == (200, 200)
    assert covering_size((333, 100), (224, 224)) == (745, 224)


@pytest.mark.parametrize("size", [(1000, 750), (501, 777), (233, 190)])
@pytest.mark.parametrize("to", [(224, 224), (60, 50), (28, 23)])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_dct_scaling_on_request(size: tuple[int, int], to: tuple[int, int], subsampling: int) -> None:
    """Pillow's draft and then resize; without the option nothing is scaled."""
    file = io.BytesIO()
    Image.fromarray(picture(*size)).save(file, "JPEG", quality=90, subsampling=subsampling)
    data = file.getvalue()
    whole = gs.decode(data)
    np.testing.assert_array_equal(one(data, to, resized=to), by_pillow(whole, to, "bilinear"))
    drafted = Image.open(file)
    by = next((s for s in (8, 4, 2) if size[0] >= s * to[0] and size[1] >= s * to[1]), 1)
    if by > 1:
        drafted.draft("RGB", (size[0] // by, size[1] // by))
        assert drafted.size == (-(-size[0] // by), -(-size[1] // by))
    box = (0, 0, size[0] / by, size[1] / by)
    want = by_pillow(np.asarray(drafted.convert("RGB")), to, "bilinear", box)
    x, y = to[0] // 3, to[1] // 4
    got = one(data, (to[0] - x, to[1] - y), (x, y), resized=to, dct_scale=True)
    np.testing.assert_array_equal(got, want[y:, x:])
