"""Facts from an image's bytes; sound or not, and why.

JPEG and PNG are decoded by the C++ core; any other known format goes through Pillow where it is installed.
"""

from __future__ import annotations

import io
from typing import Literal

from genimage_stream.decode import DecodeError, ImageFacts, Limits, inspect
from genimage_stream.decode import decode as _decode
from shard_tools.errors import UnreadableImageError

try:
    from genimage_stream.decode import check as _check  # type: ignore[attr-defined, unused-ignore]
except ImportError:

    def _check(data: bytes) -> ImageFacts:
        _decode(data)
        return inspect(data)


Check = Literal["full", "header"]
CHECKS: tuple[Check, ...] = ("full", "header")


def image_facts(data: bytes, check: Check = "full") -> ImageFacts:
    """The facts of one image. `full` decodes every pixel, `header` only probes. Raises UnreadableImageError with
    the reason.
    """
    try:
        facts: ImageFacts = inspect(data)
        if facts.format not in ("jpeg", "png"):
            return _by_pillow(data, facts.format, check)
        return _check(data) if check == "full" else facts
    except DecodeError as error:
        raise UnreadableImageError(str(error)) from error


def _by_pillow(data: bytes, form: str, check: Check) -> ImageFacts:
    try:
        from PIL import Image
    except ImportError:
        raise UnreadableImageError(f"{form}: only Pillow can decode this format and it is not installed") from None
    try:
        with Image.open(io.BytesIO(data), formats=[form.upper()]) as image:
            width, height = image.size
            limits = Limits()
            if width * height > limits.max_pixels:
                raise UnreadableImageError(f"{width}x{height} pixels are more than the limit of {limits.max_pixels}")
            mode = image.mode
            if check == "full":
                image.load()
    except UnreadableImageError:
        raise
    except Exception as error:  # Pillow's plugins raise nearly anything on damaged files
        raise UnreadableImageError(f"damaged {form}: {error}") from error
    return ImageFacts(form, mode, width, height, 8, None, False)
