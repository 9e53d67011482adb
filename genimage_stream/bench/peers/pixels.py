"""The work on one decoded image for peers that leave it to Python; as lean as NumPy and torch allow."""

from __future__ import annotations

import io
import random
from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genimage_stream.loading.options import NORMALISATIONS

PARTS = ("simplejpeg", "kornia_rs")  # the fastest public decoders of JPEG and PNG

# One multiplication and one addition per value, for the whole batch at once: (n, 3, h, w) broadcasts against these.
MEAN, STD = NORMALISATIONS["imagenet"]
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


def fastest(data: bytes, parts: Collection[str] = PARTS) -> np.ndarray:
    """RGB (h, w, 3) uint8 by simplejpeg and kornia-rs, as far as `parts` names them; by Pillow where these have no
    answer (CMYK, palettes, 16 bits, alpha)."""
    if data[:2] == b"\xff\xd8" and "simplejpeg" in parts:
        import simplejpeg

        try:
            return np.asarray(simplejpeg.decode_jpeg(data, "RGB", fastdct=False, fastupsample=False))
        except ValueError:
            return pillow(data)
    plain = data[12:16] == b"IHDR" and data[24:29] == b"\x08\x02\x00\x00\x00"  # 8 bits, RGB, not interlaced
    if plain and "kornia_rs" in parts:
        import kornia_rs

        width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
        return np.asarray(kornia_rs.io.decode_image_png_u8(data, (height, width), "rgb"))
    return pillow(data)


def pillow(data: bytes) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def fastest_window(data: bytes, side: int, parts: Collection[str] = PARTS) -> Tensor:
    """Decode with the fastest public parts and cut the window."""
    return planar(window(fastest(data, parts), side))


def planar(pixels: np.ndarray) -> Tensor:
    """(h, w, 3) uint8 to a contiguous (3, h, w) tensor."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def normalised(images: Tensor) -> Tensor:
    """(n, 3, h, w) uint8 to the float32 batch."""
    return images.float().mul_(SCALE).add_(OFFSET)


def collate(samples: list[tuple[Tensor, int]], output: str = "float32") -> tuple[Tensor, Tensor]:
    """Samples to a batch, normalised in the worker unless it is to be uint8, so that workers share that work too."""
    images = torch.stack([image for image, _ in samples])
    if output != "uint8":
        images = normalised(images)
    if output == "float16":
        images = images.half()
    return images, torch.tensor([label for _, label in samples])
