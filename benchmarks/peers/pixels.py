"""The work on one decoded image for peers that leave it to Python; as lean as NumPy and torch allow."""

from __future__ import annotations

import io
import random
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.peers import MEAN, STD

# One multiplication and one addition per value, for the whole batch at once: (n, 3, h, w) broadcasts against these.
SCALE = torch.tensor([1 / (255 * s) for s in STD]).view(3, 1, 1)
OFFSET = torch.tensor([-m / s for m, s in zip(MEAN, STD, strict=True)]).view(3, 1, 1)


def window(pixels: np.ndarray, side: int) -> np.ndarray:
    """A random window of (h, w, 3) uint8 pixels, mirrored half of the time; smaller images are tiled first."""
    height, width = pixels.shape[:2]
    if height < side or width < side:
        pixels = np.tile(pixels, (-(-side // height), -(-side // width), 1))
        height, width = pixels.shape[:2]
    x, y = random.randint(0, width - side), random.randint(0, height - side)
    pixels = pixels[y : y + side, x : x + side]
    return pixels[:, ::-1] if random.random() < 0.5 else pixels


def pillow_window(data: bytes, side: int) -> Tensor:
    """Decode with Pillow and cut the window: (3, side, side) uint8. The crop is taken before the copy to NumPy."""
    from PIL import Image, ImageOps

    image: Any = Image.open(io.BytesIO(data))
    image = image.convert("RGB")
    width, height = image.size
    if width < side or height < side:
        return planar(window(np.asarray(image), side))
    x, y = random.randint(0, width - side), random.randint(0, height - side)
    image = image.crop((x, y, x + side, y + side))
    if random.random() < 0.5:
        image = ImageOps.mirror(image)
    return planar(np.asarray(image))


def opencv_window(data: bytes, side: int) -> Tensor:
    """Decode with OpenCV, cut the window, and put the channels in order."""
    import cv2

    pixels: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return planar(window(pixels, side)[..., ::-1])


def fastest(data: bytes) -> np.ndarray:
    """RGB (h, w, 3) uint8 by simplejpeg and kornia-rs; by Pillow where these have no answer (CMYK, palettes, 16 bits,
    alpha)."""
    import kornia_rs
    import simplejpeg
    from PIL import Image

    if data[:2] == b"\xff\xd8":
        try:
            return np.asarray(simplejpeg.decode_jpeg(data, "RGB", fastdct=False, fastupsample=False))
        except ValueError:
            return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    plain = data[12:16] == b"IHDR" and data[24:29] == b"\x08\x02\x00\x00\x00"  # 8 bits, RGB, not interlaced
    if plain:
        width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
        return np.asarray(kornia_rs.io.decode_image_png_u8(data, (height, width), "rgb"))
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def fastest_window(data: bytes, side: int) -> Tensor:
    """Decode with the fastest public parts and cut the window."""
    return planar(window(fastest(data), side))


def planar(pixels: np.ndarray) -> Tensor:
    """(h, w, 3) uint8 to a contiguous (3, h, w) tensor."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def normalised(images: Tensor) -> Tensor:
    """(n, 3, h, w) uint8 to the float32 batch."""
    return images.float().mul_(SCALE).add_(OFFSET)


def collate(samples: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
    """Samples to a batch, normalised in the worker, so that workers share that work too."""
    images = torch.stack([image for image, _ in samples])
    return normalised(images), torch.tensor([label for _, label in samples])
