"""What the libraries do for a step, with the values that the step drew: the references of single.py."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

import benchmarks.torchvision_operators  # noqa: F401

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # no question for a newer version

import albumentations
import cv2
from PIL import Image
from scipy.ndimage import gaussian_filter
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F  # noqa: N812

from genimage_stream.transforms.step import Draw

PACKAGES = ("torchvision", "pillow", "scipy", "opencv-python-headless", "albumentations", "numpy", "torch")
torch.set_num_threads(1)
cv2.setNumThreads(1)
DROPOUT, LIGHT = albumentations.CoarseDropout(), albumentations.RandomBrightnessContrast()


class Picture(NamedTuple):
    """One image in the forms that libraries take: uint8 (h, w, 3), Pillow's, uint8 (3, h, w)."""

    array: np.ndarray
    pil: Any
    tensor: torch.Tensor


Reference = Callable[[Picture, Draw], Any]


def picture(image: Any) -> Picture:
    return Picture(np.array(image), image, F.pil_to_tensor(image))


def saved_and_opened(image: Any, name: str, quality: int) -> Any:
    file = io.BytesIO()
    image.save(file, name, quality=quality)
    found = Image.open(file)
    found.load()
    return found


def pillow_jpeg(picture: Picture, draw: Draw) -> Any:
    return saved_and_opened(picture.pil, "JPEG", draw["quality"])


def pillow_webp(picture: Picture, draw: Draw) -> Any:
    return saved_and_opened(picture.pil, "WEBP", draw["quality"])


def cv2_jpeg(picture: Picture, draw: Draw) -> Any:
    return cv2.imdecode(cv2.imencode(".jpg", picture.array, [cv2.IMWRITE_JPEG_QUALITY, draw["quality"]])[1], 1)


def scipy_blur(picture: Picture, draw: Draw) -> Any:
    pixels = picture.array.copy()
    for channel in range(3):
        gaussian_filter(pixels[:, :, channel], output=pixels[:, :, channel], sigma=draw["sigma"])
    return pixels


def cv2_blur(picture: Picture, draw: Draw) -> Any:
    return cv2.GaussianBlur(picture.array, (draw["kernel_size"],) * 2, draw["sigma"])


def torchvision_blur(picture: Picture, draw: Draw) -> Any:
    return F.gaussian_blur(picture.pil, [draw["kernel_size"]] * 2, [draw["sigma"]] * 2)


def resize(picture: Picture, draw: Draw) -> Any:
    return F.resize(picture.pil, [256])


def resize_bicubic(picture: Picture, draw: Draw) -> Any:
    return F.resize(picture.pil, [256], InterpolationMode.BICUBIC)


def cv2_resize(picture: Picture, draw: Draw) -> Any:
    return cv2.resize(picture.array, (256, 256))


def cv2_scale(picture: Picture, draw: Draw) -> Any:
    return cv2.resize(picture.array, [int(side * draw["factor"]) for side in picture.pil.size])


def box(draw: Draw) -> tuple[int, int, int, int]:
    return draw["y"], draw["x"], draw["height"], draw["width"]


def resized_crop(picture: Picture, draw: Draw) -> Any:
    return F.resized_crop(picture.pil, *box(draw), [224, 224])


def center_crop(picture: Picture, draw: Draw) -> Any:
    return F.center_crop(picture.pil, [224])


def crop(picture: Picture, draw: Draw) -> Any:
    return F.crop(picture.pil, draw["y"], draw["x"], 224, 224)


def padded_crop(picture: Picture, draw: Draw) -> Any:
    """As torchvision's pad_if_needed: the whole difference at both ends."""
    return F.crop(F.pad(picture.pil, [128]), draw["y"] + 128, draw["x"] + 128, 384, 384)


def tile(picture: Picture, draw: Draw) -> Any:
    return np.tile(picture.array, (2, 2, 1))


def zoom(picture: Picture, draw: Draw) -> Any:
    return F.resize(F.center_crop(picture.pil, [draw["height"], draw["width"]]), [256, 256])


def flip(picture: Picture, draw: Draw) -> Any:
    return F.horizontal_flip(picture.pil)


def flip_down(picture: Picture, draw: Draw) -> Any:
    return F.vertical_flip(picture.pil)


def quarter(picture: Picture, draw: Draw) -> Any:
    return np.ascontiguousarray(np.rot90(picture.array, draw["angle"] // 90))


def rotate(picture: Picture, draw: Draw) -> Any:
    return F.rotate(picture.pil, draw["angle"])


def jitter(picture: Picture, draw: Draw) -> Any:
    image = picture.pil
    for which in draw["order"]:
        name = ("brightness", "contrast", "saturation", "hue")[which]
        if draw[name] is not None:
            image = getattr(F, f"adjust_{name}")(image, draw[name])
    return image


def brightness_contrast(picture: Picture, draw: Draw) -> Any:
    return LIGHT.apply(picture.array, alpha=1 + draw["contrast"], beta=255 * draw["brightness"])


def gray(picture: Picture, draw: Draw) -> Any:
    return F.rgb_to_grayscale(picture.pil, num_output_channels=3)


def noise(picture: Picture, draw: Draw) -> Any:
    """Of floats, which it takes only; to and from them is not counted."""
    return F.gaussian_noise(picture.tensor.float(), sigma=draw["sigma"])


def erase(picture: Picture, draw: Draw) -> Any:
    return F.erase(picture.tensor, *box(draw), torch.zeros(3, 1, 1, dtype=torch.uint8))


def dropout(picture: Picture, draw: Draw) -> Any:
    holes = np.array([(x, y, x + width, y + height) for x, y, width, height in draw["holes"]])
    return DROPOUT.apply(picture.array, holes=holes, seed=0)


def mask(picture: Picture, draw: Draw) -> Any:
    pixels = picture.array.copy()
    for cell in draw["cells"]:
        y, x = cell // 16 * 16, cell % 16 * 16
        pixels[y : y + 16, x : x + 16] = 0
    return pixels


def texture(patch: np.ndarray) -> int:
    """Absolute differences in four directions."""
    p = patch.astype(np.int32)
    pairs = ((p[:, 1:], p[:, :-1]), (p[1:], p[:-1]), (p[1:, 1:], p[:-1, :-1]), (p[1:, :-1], p[:-1, 1:]))
    return int(sum(np.abs(a - b).sum() for a, b in pairs))


def patches(picture: Picture, draw: Draw) -> list[np.ndarray]:
    return sorted((picture.array[y : y + 32, x : x + 32] for x, y in draw["corners"]), key=texture)


def ssp(picture: Picture, draw: Draw) -> Any:
    return patches(picture, draw)[0].copy()


def patchcraft(picture: Picture, draw: Draw) -> Any:
    found = patches(picture, draw)
    rows = [np.hstack(part[i : i + 8]) for part in (found[:64], found[::-1][:64]) for i in range(0, 64, 8)]
    return np.vstack(rows)
