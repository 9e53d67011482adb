"""The batch call against one image at a time."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

import genimage_stream as gs
from genimage_stream.decode import _core

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def encoded(rng: np.random.Generator, width: int, height: int, form: str, **options: Any) -> bytes:
    """A picture with smooth and noisy parts."""
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([127 + 100 * np.sin(x / 9 + k) * np.cos(y / (7 + k)) for k in range(3)], axis=2)
    pixels = np.clip(waves + rng.normal(0, 12, waves.shape), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def images() -> list[bytes]:
    rng = np.random.default_rng(7)
    sizes = [(500, 375), (256, 256), (333, 500), (300, 231), (224, 224), (1024, 300)]
    return [encoded(rng, w, h, form) for w, h in sizes for form in ("JPEG", "PNG")]


def random_crops(images: list[bytes], window: int, seed: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    facts = [gs.inspect(data) for data in images]
    return np.array(
        [[rng.integers(0, f.width - window + 1), rng.integers(0, f.height - window + 1)] for f in facts], np.int32
    )


def expected(images: list[bytes], crops: np.ndarray, flips: np.ndarray, window: int) -> np.ndarray:
    """(n, 3, window, window) uint8, by decoding each image whole and slicing."""
    planes = []
    for data, (x, y), flip in zip(images, crops, flips, strict=True):
        part = gs.decode(data)[y : y + window, x : x + window]
        planes.append((part[:, ::-1] if flip else part).transpose(2, 0, 1))
    return np.stack(planes)


def normalized(pixels: np.ndarray, dtype: Any, mean: Any = (0, 0, 0), std: Any = (1, 1, 1)) -> np.ndarray:
    """The documented rule, in NumPy."""
    m, s = (np.asarray(v, np.float64).reshape(3, 1, 1) for v in (mean, std))
    return ((pixels / 255.0 - m) / s).astype(np.float32).astype(dtype)


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
@pytest.mark.parametrize("window", [1, 7, 15, 16, 17, 100, 224])
def test_equals_decode_and_slice(images: list[bytes], dtype: str, window: int, level: int) -> None:
    before = _core.simd_level()
    if level > before:
        pytest.skip(f"this CPU has no SIMD level {level}")
    crops = random_crops(images, window)
    flips = np.arange(len(images), dtype=np.uint8) // 2 % 2
    out = np.full((len(images), 3, window, window), 77, dtype)
    norm = {} if dtype == "uint8" else {"mean": MEAN, "std": STD}
    _core.set_simd_level(level)
    try:
        with gs.BatchDecoder(2) as decoder:
            assert decoder.decode_batch(images, out, crops=crops, flips=flips, **norm) == []
    finally:
        _core.set_simd_level(before)
    pixels = expected(images, crops, flips, window)
    want = pixels if dtype == "uint8" else normalized(pixels, dtype, MEAN, STD)
    np.testing.assert_array_equal(out.view(f"u{out.itemsize}"), want.view(f"u{out.itemsize}"))


def test_file_ranges(images: list[bytes], tmp_path: Any) -> None:
    paths = [tmp_path / "a.bin", tmp_path / "b.bin"]
    index, offset, size = [], [], []
    for k, path in enumerate(paths):
        with path.open("wb") as file:
            for data in images[k::2]:
                file.write(b"x" * 37)
                index.append(k)
                offset.append(file.tell())
                size.append(len(data))
                file.write(data)
    order = [*images[0::2], *images[1::2]]
    ranges = gs.FileRanges(gs.FileSet(paths), np.array(index, np.int32), np.array(offset), np.array(size))
    crops = random_crops(order, 200)
    out = np.zeros((len(order), 3, 200, 200), np.uint8)
    decoder = gs.BatchDecoder(2)
    job = decoder.submit(ranges, out, crops=crops)
    assert job.wait()
    assert job.errors() == []
    assert job.stats().bytes_read == sum(size)
    np.testing.assert_array_equal(out, expected(order, crops, np.zeros(len(order)), 200))


def test_errors_are_per_image(images: list[bytes]) -> None:
    broken = list(images)
    broken[1] = b""
    broken[3] = images[3][: len(images[3]) // 2]
    broken[4] = b"no image at all"
    crops = random_crops(images, 200)
    crops[6] = (250, 0)
    out = np.full((len(images), 3, 200, 200), 9, np.uint8)
    errors = gs.decode_batch(broken, out, crops=crops, threads=2)
    assert [e.index for e in errors] == [1, 3, 4, 6]
    assert {e.kind for e in errors} == {"decode"}
    assert "empty" in errors[0].message
    assert "leaves the image of 300x231" in errors[3].message
    want = expected(images, np.where(crops > 100, 0, crops), np.zeros(len(images)), 200)
    for i in range(len(images)):
        if i in (1, 3, 4, 6):
            assert not out[i].any()
        elif (crops[i] <= 100).all():
            np.testing.assert_array_equal(out[i], want[i])


def test_many_jobs_in_flight(images: list[bytes]) -> None:
    decoder = gs.BatchDecoder(2)
    jobs = []
    for seed in range(12):
        crops = random_crops(images, 64, seed)
        out = np.zeros((len(images), 3, 64, 64), np.uint8)
        jobs.append((decoder.submit(images, out, crops=crops), out, crops))
    for job, out, crops in jobs:
        assert job.wait(200)
        np.testing.assert_array_equal(out, expected(images, crops, np.zeros(len(images)), 64))
