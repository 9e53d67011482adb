"""DataLoader with the fastest public parts: simplejpeg, kornia-rs for PNG, OpenCV's resize, one normalisation a batch.

The operations are those of published.py with the same strengths; crops, flips and masks are NumPy's, resizes OpenCV's
without antialiasing, JPEG round trips simplejpeg's. The blur stays SciPy's, whose truncation no faster part has, and
SAFE's rotation and colours stay Pillow's.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

import benchmarks.torchvision_operators  # noqa: F401
from benchmarks.peers import Work, webdataset_pillow
from benchmarks.transformed import TRANSFORMS
from benchmarks.transformed.published import blur, erase
from genimage_stream.bench.peers.pixels import fastest, planar

TITLE = "fastest public parts"
PACKAGES = ("simplejpeg", "kornia-rs", "opencv-python-headless", "scipy", "webdataset", "torch")
REQUIREMENTS: tuple[str, ...] = ()


def jpeg(pixels: np.ndarray, quality: int, order: str = "RGB") -> np.ndarray:
    import simplejpeg

    encoded = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality, order, "420", fastdct=False)
    return np.asarray(simplejpeg.decode_jpeg(encoded, order, fastdct=False, fastupsample=False))


def resize(pixels: np.ndarray, width: int, height: int, cubic: bool = False) -> np.ndarray:
    import cv2

    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR))


def crop(pixels: np.ndarray, side: int, both_ends: bool = False) -> np.ndarray:
    """A random window; around smaller images zeros, the whole difference at `both_ends` as torchvision has it."""
    lacking = [max(side - length, 0) for length in pixels.shape[:2]]
    if any(lacking):
        edges = [(n, n) if both_ends else (n // 2, n - n // 2) for n in lacking]
        pixels = np.pad(pixels, (*edges, (0, 0)))
    y, x = (random.randint(0, length - side) for length in pixels.shape[:2])
    return pixels[y : y + side, x : x + side]


def flip(pixels: np.ndarray) -> np.ndarray:
    return pixels[:, ::-1] if random.random() < 0.5 else pixels


def blur_and_jpeg(pixels: np.ndarray, quality: Callable[[], int]) -> np.ndarray:
    if random.random() < 0.5:
        pixels = np.array(pixels)
        blur(pixels, random.uniform(0, 3))
    return jpeg(pixels, quality()) if random.random() < 0.5 else pixels


def cnnspot(pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    short = min(height, width)
    pixels = resize(pixels, 256 * width // short, 256 * height // short)
    return flip(crop(blur_and_jpeg(pixels, lambda: random.randint(30, 100)), 224))


def rine(pixels: np.ndarray) -> np.ndarray:
    return flip(crop(blur_and_jpeg(pixels, lambda: random.choice((30, 100))), 224, both_ends=True))


def resized_crop(pixels: np.ndarray) -> np.ndarray:
    """torchvision's RandomResizedCrop(224)."""
    height, width = pixels.shape[:2]
    for _ in range(10):
        area = height * width * random.uniform(0.08, 1)
        ratio = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            break
    else:
        w, h = min(width, round(height * 4 / 3)), min(height, round(width * 4 / 3))
    y, x = random.randint(0, height - h), random.randint(0, width - w)
    return flip(resize(pixels[y : y + h, x : x + w], 224, 224, cubic=random.random() < 0.5))


def drct(pixels: np.ndarray) -> np.ndarray:
    if random.random() < 0.5:
        pixels = jpeg(pixels, random.randint(30, 100), "BGR")  # RGB handed over as BGR, as by albumentations
    if random.random() < 0.2:
        factor = random.uniform(0.5, 1.5)
        pixels = resize(pixels, int(pixels.shape[1] * factor), int(pixels.shape[0] * factor))
    return crop(pixels, 224)


def safe(colours: Callable[[Any], Any], pixels: np.ndarray) -> np.ndarray:
    from PIL import Image

    image = Image.fromarray(flip(crop(pixels, 256, both_ends=True)))
    pixels = np.array(colours(image.rotate(random.uniform(-180, 180))))
    if random.random() < 0.5:
        for cell in random.sample(range(256), int(256 * random.uniform(0, 0.75))):
            y, x = cell // 16 * 16, cell % 16 * 16
            pixels[y : y + 16, x : x + 16] = 0
    return pixels


def chain(name: str) -> Callable[[bytes], Tensor]:
    """Bytes of a file to uint8 (3, side, side)."""
    from torchvision.transforms import ColorJitter

    chains = {"cnnspot": cnnspot, "rine": rine, "genimage-resnet50": resized_crop, "drct": drct}
    chains["safe"] = partial(safe, ColorJitter(0.5, 0.5, 0.5))
    run = chains[name]
    return lambda data: planar(run(fastest(data)))


def collate(samples: list[tuple[Tensor, int]], name: str) -> tuple[Tensor, Tensor]:
    from genimage_stream.loading.options import NORMALISATIONS

    mean, std = (torch.tensor(values).view(3, 1, 1) for values in NORMALISATIONS[TRANSFORMS[name].normalize])  # type: ignore[index]
    images = torch.stack([image for image, _ in samples]).float().mul_(1 / (255 * std)).sub_(mean / std)
    if name == "genimage-resnet50":
        for image in images:
            erase(image)
    return images, torch.tensor([label for _, label in samples])


def open_stream(work: Work) -> Callable[[], Iterator[tuple[Any, Any]]]:
    import cv2

    cv2.setNumThreads(0)
    return webdataset_pillow.stream(work, chain(work.transform), partial(collate, name=work.transform))
