"""JPEG files for the tests: pictures with texture, edges and saturated colours, in every sampling and mode."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]

SAMPLINGS = {
    "4:4:4": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    "4:2:2": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    "4:4:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440,
    "4:1:1": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411,
}


def picture(width: int, height: int, seed: int = 0) -> Pixels:
    """(height, width, 3) uint8: smooth gradients, noise, hard edges and fully saturated patches."""
    rng = np.random.default_rng((seed, width, height))
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    image = np.empty((height, width, 3))
    for c in range(3):
        fx, fy, phase = [*rng.uniform(0.01, 0.5, 2).tolist(), rng.uniform(0, 6)]
        image[..., c] = 127 + 120 * np.sin(fx * x + fy * y + phase)
    image += rng.normal(0, rng.uniform(0, 25), image.shape)
    for _ in range(4):
        left, top = int(rng.integers(0, width)), int(rng.integers(0, height))
        image[top : top + int(rng.integers(1, 20)), left : left + int(rng.integers(1, 20))] = rng.choice([0, 255], 3)
    return np.clip(image, 0, 255).astype(np.uint8)


def encode(pixels: Pixels, mode: str = "RGB", **options: Any) -> bytes:
    """A JPEG by Pillow; `options` are those of its writer."""
    out = BytesIO()
    Image.fromarray(pixels).convert(mode).save(out, "JPEG", **options)
    return out.getvalue()


def encode_sampled(
    pixels: Pixels,
    sampling: str,
    quality: int = 90,
    *,
    progressive: bool = False,
    restart: int = 0,
    optimize: bool = False,
) -> bytes:
    """A JPEG by OpenCV, which writes samplings that Pillow does not; `restart` in MCUs."""
    flags = [
        cv2.IMWRITE_JPEG_QUALITY, quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SAMPLINGS[sampling],
        cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive),
        cv2.IMWRITE_JPEG_RST_INTERVAL, restart,
        cv2.IMWRITE_JPEG_OPTIMIZE, int(optimize),
    ]  # fmt: skip
    done, data = cv2.imencode(".jpg", pixels[..., ::-1], flags)
    assert done
    return data.tobytes()


def reference(data: bytes) -> Pixels:
    """What Pillow (its own libjpeg-turbo) makes of it, as RGB."""
    with Image.open(BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))
