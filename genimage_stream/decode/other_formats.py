"""WebP, AVIF, TIFF, GIF and BMP through Pillow, which is imported when the first such image comes.

The same rules as for JPEG and PNG: alpha is dropped, palette and gray become RGB, 16 bits keep the high byte, CMYK
becomes RGB as Pillow converts it, rotation by EXIF is not applied. Of several frames the first is taken. `strict` makes
no difference here: what Pillow calls truncated is an error.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from genimage_stream.decode import _core

if TYPE_CHECKING:
    from PIL import Image
    from typing_extensions import Buffer

FORMATS = frozenset({"webp", "avif", "tiff", "gif", "bmp"})  # as `sniff` names them
_HIGH_BYTE = {"I;16": "<u2", "I;16L": "<u2", "I;16B": ">u2", "I;16N": "=u2"}
_BIT_DEPTH = {"1": 1, "I": 32, "F": 32}


def decode_other(
    data: Buffer, crop: tuple[int, int, int, int] | None, max_pixels: int, max_bytes: int
) -> npt.NDArray[np.uint8]:
    """The (height, width, 3) uint8 pixels, cropped after decoding. Raises DecodeError, IndexError for the crop."""
    image = _open(data, max_pixels, max_bytes)
    if crop is not None:
        x, y, width, height = crop
        if x < 0 or y < 0 or width < 1 or height < 1 or x > image.width - width or y > image.height - height:
            raise IndexError(f"the crop is not inside the image of {image.width}x{image.height}")
    try:
        pixels = _rgb(image)
    except _core.DecodeError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever they meet: OSError, SyntaxError, struct.error, ...
        raise _core.DecodeError(f"damaged {image.format} image: {error}") from error
    if crop is not None:
        pixels = pixels[y : y + height, x : x + width]
    return np.ascontiguousarray(pixels)


def decode_for_batch(data: Buffer, _strict: bool, max_pixels: int, max_bytes: int) -> npt.NDArray[np.uint8]:
    """Called by the batch decoder's threads for every image that is neither JPEG nor PNG."""
    return decode_other(data, None, max_pixels, max_bytes)


def inspect_other(data: Buffer, max_pixels: int, max_bytes: int) -> tuple[str, str, int, int, int, int, bool]:
    """The facts of `_core.inspect` from Pillow's reading of the header."""
    image = _open(data, max_pixels, max_bytes)
    depth = 16 if image.mode.startswith("I;16") else _BIT_DEPTH.get(image.mode, 8)
    return (image.format or "").lower(), image.mode, image.width, image.height, depth, -1, False


def _open(data: Buffer, max_pixels: int, max_bytes: int) -> Image.Image:
    form = _core.sniff(data)
    view = memoryview(data)
    if view.nbytes > max_bytes:
        raise _core.DecodeError(f"the file has {view.nbytes} bytes, more than the limit of {max_bytes}")
    if form not in FORMATS:
        raise _core.DecodeError(
            "not an image: no known format begins like this" if view.nbytes else "the file is empty"
        )
    try:
        from PIL import Image
    except ImportError:
        raise _core.DecodeError(
            f"a {form} image: only JPEG and PNG are decoded without Pillow; install genimage-stream[pillow]"
        ) from None
    try:
        image = Image.open(io.BytesIO(view), formats=[form.upper()])
    except Exception as error:
        raise _core.DecodeError(f"damaged {form} image, or Pillow was built without {form}: {error}") from error
    if image.width * image.height > max_pixels:
        raise _core.DecodeError(
            f"the image has {image.width}x{image.height} pixels, more than the limit of {max_pixels}"
        )
    return image


def _rgb(image: Image.Image) -> npt.NDArray[np.uint8]:
    if image.mode in _HIGH_BYTE:
        gray = np.asarray(image).astype(np.uint16) >> 8
        return np.repeat(gray.astype(np.uint8)[:, :, None], 3, axis=2)
    if image.mode in {"I", "F"}:
        raise _core.DecodeError(f"a {image.format} image of mode {image.mode}: 32 bits per pixel have no 8-bit meaning")
    return np.asarray(image.convert("RGB"))
