"""One image: `decode` its pixels, `inspect` its header."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from genimage_stream.decode import _core

if TYPE_CHECKING:
    from typing_extensions import Buffer

DecodeError = _core.DecodeError


@dataclass(frozen=True)
class Limits:
    """What one image may cost; more is a DecodeError, raised before the memory is taken."""

    max_pixels: int = 1 << 28
    max_bytes: int = 1 << 30


@dataclass(frozen=True)
class ImageFacts:
    """What the header says. `mode` as Pillow names it; `jpeg_quality` is None for anything but a JPEG."""

    format: str
    mode: str
    width: int
    height: int
    bit_depth: int
    jpeg_quality: int | None
    progressive: bool


DEFAULT_LIMITS = Limits()


def decode(
    data: Buffer,
    *,
    crop: tuple[int, int, int, int] | None = None,
    strict: bool = True,
    limits: Limits = DEFAULT_LIMITS,
) -> npt.NDArray[np.uint8]:
    """Decode an image, or the part `crop = (x, y, width, height)` of it, to (height, width, 3) uint8 RGB.

    The pixels are those of a full decode by libjpeg-turbo (accurate DCT, fancy upsampling) or libpng, cropped
    afterwards. Raises DecodeError (a ValueError) when the bytes are not a sound image, IndexError when the crop is not
    inside it.
    """
    return _core.decode(data, crop, strict, limits.max_pixels, limits.max_bytes)


def inspect(data: Buffer, *, limits: Limits = DEFAULT_LIMITS) -> ImageFacts:
    """Read an image's header. Raises DecodeError when there is none."""
    form, mode, width, height, bit_depth, quality, progressive = _core.inspect(
        data, limits.max_pixels, limits.max_bytes
    )
    return ImageFacts(form, mode, width, height, bit_depth, quality if quality > 0 else None, progressive)
