"""The libraries that published code uses, for comparison; a test that needs a missing one is skipped."""

from __future__ import annotations

import io
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from genimage_stream.transforms.step import Image as Pixels

PILLOW_FILTERS = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}


@cache
def _declare_operators() -> Any:
    """torchvision's package asks for two operators of its compiled part, which needs another build of torch.

    Nothing here calls them; declaring them lets the rest be imported.
    """
    import torch

    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library  # the declarations live as long as this


def torchvision() -> tuple[Any, Any]:
    """torchvision.transforms.v2 and its functional module."""
    pytest.importorskip("torch")
    with suppress(RuntimeError):  # torchvision's compiled part has declared them
        _declare_operators()
    v2 = pytest.importorskip("torchvision.transforms.v2", reason="torchvision is not installed")
    return v2, v2.functional


def albumentations() -> Any:
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


#: Sizes from one pixel up, the awkward ones often.
SIDES = st.one_of(st.integers(1, 9), st.integers(1, 70), st.integers(1, 200))
SEEDS = st.integers(0, 1 << 20)
