"""AVIF, TIFF, GIF and BMP through Pillow, which is imported when the first such image comes.

The same rules as for JPEG and PNG: alpha is dropped, palette and gray become RGB, 16 bits keep the high byte, CMYK
becomes RGB as Pillow converts it, rotation by EXIF is not applied. Of several frames the first is taken. `strict` makes
no difference here: what Pillow calls truncated is an error.
"""

from __future__ import annotations

import importlib
import io
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from genimage_stream.decode import _core

if TYPE_CHECKING:
    from PIL import Image
    from typing_extensions import Buffer

FORMATS = frozenset({"avif", "tiff", "gif", "bmp"})  # as `sniff` names them
_HIGH_BYTE = {"I;16": "<u2", "I;16L": "<u2", "I;16B": ">u2", "I;16N": "=u2"}
_PLUGIN = {
    "avif": "AvifImagePlugin",
    "tiff": "TiffImagePlugin",
    "gif": "GifImagePlugin",
    "bmp": "BmpImagePlugin",
}
_BIT_DEPTH = {"1": 1, "I": 32, "F": 32}


# Bytes per pixel that decoding by Pillow takes at most: the library's own planes, the bytes of a frame, Pillow's image,
# and the array made of it.
_BYTES_PER_PIXEL = 24


_Facts = tuple[str, str, int, int, int, int, bool, str]  # as those of the core: see `ImageFacts`


def decode_other(
    data: Buffer, crop: tuple[int, int, int, int] | None, max_pixels: int, max_bytes: int, memory: int
) -> tuple[npt.NDArray[np.uint8], _Facts]:
    """The (height, width, 3) uint8 pixels, cropped after decoding, and the facts of the header. Raises DecodeError,
    IndexError for the crop."""
    pixels, facts, lease = _decode(data, crop, max_pixels, max_bytes, memory)
    lease.release()
    return pixels, facts


def decode_for_batch(
    data: Buffer, max_pixels: int, max_bytes: int, memory: int
) -> tuple[npt.NDArray[np.uint8], _core.MemoryLease]:
    """Called by the batch decoder's threads for every image that the core leaves to Pillow."""
    pixels, _, lease = _decode(data, None, max_pixels, max_bytes, memory)
    return pixels, lease


def _decode(
    data: Buffer, crop: tuple[int, int, int, int] | None, max_pixels: int, max_bytes: int, memory: int
) -> tuple[npt.NDArray[np.uint8], _Facts, _core.MemoryLease]:
    """The pixels, the facts, and the lease for the memory that this took."""
    image, lease = _open(data, max_pixels, max_bytes, memory)
    facts = _facts(image)  # before decoding, which changes the mode of some
    if crop is not None:
        x, y, width, height = crop
        if x < 0 or y < 0 or width < 1 or height < 1 or x > image.width - width or y > image.height - height:
            raise IndexError(f"the crop is not inside the image of {image.width}x{image.height}")
    try:
        pixels = _rgb(image)
    except _core.DecodeError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever they meet: OSError, SyntaxError, struct.error, ...
        raise _refusal(error, f"damaged {image.format} image") from error
    if crop is not None:
        pixels = pixels[y : y + height, x : x + width]
    return np.ascontiguousarray(pixels), facts, lease


def inspect_other(data: Buffer, max_pixels: int, max_bytes: int) -> _Facts:
    """The facts of `_core.inspect` from Pillow's reading of the header."""
    image, lease = _open(data, max_pixels, max_bytes, 0)
    lease.release()
    return _facts(image)


def _facts(image: Image.Image) -> _Facts:
    depth = 16 if image.mode.startswith("I;16") else _BIT_DEPTH.get(image.mode, 8)
    return (image.format or "").lower(), image.mode, image.width, image.height, depth, -1, False, ""


def _open(data: Buffer, max_pixels: int, max_bytes: int, memory: int) -> tuple[Image.Image, _core.MemoryLease]:
    """The image by its header, and the lease for the memory that its pixels take; `memory` 0: they are not wanted."""
    form = _core.sniff(data)
    view = memoryview(data)
    if view.nbytes > max_bytes:
        raise _core.DecodeError(f"the file has {view.nbytes} bytes, more than the limit of {max_bytes}")
    if form not in FORMATS:
        raise _core.DecodeError(
            f"not an image that Pillow is asked for (these are: {', '.join(sorted(FORMATS))})"
            if view.nbytes
            else "the file is empty"
        )

    try:
        import PIL.Image  # noqa: F401
    except ImportError:
        raise _core.DecodeError(
            f"a {form} image: only JPEG, PNG and WebP are decoded without Pillow; install genimage-stream[pillow]"
        ) from None
    try:
        image = _read_header(form, view)
    except Exception as error:
        raise _refusal(error, f"damaged {form} image, or Pillow was built without {form}") from error
    _check_pixels(image.size, max_pixels)
    needed = _BYTES_PER_PIXEL * image.width * image.height + 2 * view.nbytes
    return image, _core.MemoryLease(needed if memory else 0, memory)


def _refusal(error: Exception, otherwise: str) -> _core.DecodeError:
    """The error for an exception of Pillow. Its readers of TIFF and GIF check Pillow's own limit again."""
    if type(error).__name__ in {"DecompressionBombError", "DecompressionBombWarning"}:
        otherwise = "Pillow has a limit of its own for the whole process, PIL.Image.MAX_IMAGE_PIXELS: raise it"
    return _core.DecodeError(f"{otherwise}: {error}")


def _read_header(form: str, view: memoryview) -> Image.Image:
    """As Pillow's Image.open, without its check of the number of pixels: Pillow's limit is the whole process's, so it
    cannot be lifted for one call, and our limit is checked anyway."""
    from PIL import Image

    importlib.import_module(f"PIL.{_PLUGIN[form]}")
    factory, accept = Image.OPEN[form.upper()]
    accepted = accept is None or accept(bytes(view[:16]))
    if isinstance(accepted, str) or not accepted:
        raise OSError(accepted or "its header is not one of that format")
    return factory(io.BytesIO(view), "")


def _check_pixels(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise _core.DecodeError(f"the image has {width}x{height} pixels, more than the limit of {max_pixels}")


def _rgb(image: Image.Image) -> npt.NDArray[np.uint8]:
    if image.mode in _HIGH_BYTE:
        gray = np.asarray(image).astype(np.uint16) >> 8
        return np.repeat(gray.astype(np.uint8)[:, :, None], 3, axis=2)
    if image.mode in {"I", "F"}:
        raise _core.DecodeError(f"a {image.format} image of mode {image.mode}: 32 bits per pixel have no 8-bit meaning")
    return np.asarray(image.convert("RGB"))
