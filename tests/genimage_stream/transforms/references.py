"""The libraries that published code uses, for comparison; a test that needs a missing one is skipped."""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import strategies as st
from PIL import Image

from genimage_stream.order.philox import philox4x32
from genimage_stream.transforms.step import Image as Pixels

PILLOW_FILTERS = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}


def torchvision() -> tuple[Any, Any]:
    """torchvision.transforms.v2 and its functional module."""
    pytest.importorskip("torch")
    v2 = pytest.importorskip("torchvision.transforms.v2", reason="torchvision is not installed")
    return v2, v2.functional


def albumentations() -> Any:
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # no question for a newer version
    return pytest.importorskip("albumentations", reason="albumentations is not installed")


def cv2() -> Any:
    return pytest.importorskip("cv2", reason="opencv-python-headless is not installed")


def by_pillow(image: Pixels, quality: int, subsampling: int = 2) -> Pixels:
    """Saved as a JPEG and opened again."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(file))


def picture(seed: int, height: int, width: int) -> Pixels:
    """One of several kinds of images: noise, smooth with saturated parts, black and white, flat squares, one colour."""
    rng = np.random.default_rng(seed)
    kind = seed % 5
    if kind == 0:
        return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    if kind == 1:
        walk = np.cumsum(np.cumsum(rng.normal(0, 2, (height, width, 3)), 0), 1)
        return np.clip(walk * 0.3 + 128, 0, 255).astype(np.uint8)
    if kind == 2:
        return (rng.integers(0, 2, (height, width, 3)) * 255).astype(np.uint8)
    if kind == 3:
        cells = rng.integers(0, 256, ((height + 15) // 16, (width + 15) // 16, 3), dtype=np.uint8)
        return np.ascontiguousarray(cells.repeat(16, 0).repeat(16, 1)[:height, :width])
    return np.full((height, width, 3), rng.integers(0, 256, 3), np.uint8)


def normals_by_rule(height: int, width: int, key: str) -> npt.NDArray[np.float32]:
    """The rule of cpp/transform/noise.hpp, operation by operation in single precision: (height, width, 3)."""
    f = np.float32
    counters = np.zeros((4, height * width), np.uint32)
    counters[0] = np.arange(height * width)
    words = philox4x32(counters, (int(key[:8], 16), int(key[8:], 16)))
    normals = []
    for a, b in ((words[0], words[1]), (words[2], words[3])):
        u = ((a >> np.uint32(8)).astype(np.int32) + 1).astype(f) * f(2**-24)
        bits = u.view(np.int32)
        e = (bits - np.int32(0x3F2AAAAB)) >> 23
        m = (bits - e * np.int32(1 << 23)).view(f)
        s = (m - f(1)) / (m + f(1))
        s2 = s * s
        third, fifth, seventh, ninth = (f(2) / f(n) for n in (3, 5, 7, 9))
        series = f(2) + s2 * (third + s2 * (fifth + s2 * (seventh + s2 * ninth)))
        radius = np.sqrt(f(-2) * (e.astype(f) * f(0.693147182) + s * series))
        quarter = (b + np.uint32(0x20000000)) >> np.uint32(30)
        rest = (b - (quarter << np.uint32(30))).view(np.int32)
        x = rest.astype(f) * f(1.46291808e-9)
        x2 = x * x
        sine = x * (f(1) + x2 * (f(-1) / f(6) + x2 * (f(1) / f(120) + x2 * (f(-1) / f(5040)))))
        cosine = f(1) / f(720)
        cosine = f(1) + x2 * (f(-0.5) + x2 * (f(1) / f(24) + x2 * (-cosine + x2 * (f(1) / f(40320)))))
        odd = quarter % 2 == 1
        across, up = np.where(odd, sine, cosine), np.where(odd, cosine, sine)
        normals.append(radius * np.where((quarter == 1) | (quarter == 2), -across, across))
        normals.append(radius * np.where((quarter == 2) | (quarter == 3), -up, up))
    return np.stack(normals[:3], -1).reshape(height, width, 3)


#: Sizes from one pixel up, the awkward ones often.
SIDES = st.one_of(st.integers(1, 9), st.integers(1, 70), st.integers(1, 200))
SEEDS = st.integers(0, 1 << 20)
