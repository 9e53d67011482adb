"""The lossless recode of one image while packing, and the digests that prove it lossless."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from genimage_stream.decode import DecodeError, ImageFacts
from genimage_stream.decode.crop_ready import png_segments, recode_proven
from genimage_stream.storage.segments import WORTH_BYTES
from shard_tools.errors import UnreadableImageError


class Recoded(NamedTuple):
    data: bytes  # what is stored: the crop-ready file, or the original where that is to stay as it is
    facts: ImageFacts  # of the original, which are those of `data` but for the coding
    sha256: str  # of the original bytes
    stored_sha256: str  # of `data`
    pixel_sha256: str  # of the decoded image, (height, width, 3) uint8 RGB, C-contiguous
    segments: list[int] | None  # of `data`, for the index


def pixel_digest(pixels: npt.NDArray[np.uint8]) -> str:
    """The sha256 that `pixel_sha256` holds, of a decoded image."""
    return hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()


def recode_image(data: bytes, png_level: int) -> Recoded:
    """Recode one image and decode both files: what is stored shows the very pixels of the original, or is the original.

    Raises UnreadableImageError when the original does not decode.
    """
    sha256, pixel_sha256 = hashlib.sha256(data).hexdigest(), hashlib.sha256()
    try:
        proven = recode_proven(data, pixel_sha256.update, png_level=png_level)
    except DecodeError as error:
        raise UnreadableImageError(str(error)) from error
    stored = data if proven.file is None else proven.file
    stored_sha256 = sha256 if proven.file is None else hashlib.sha256(stored).hexdigest()
    segments = segments_worth_listing(stored, proven.segments)
    return Recoded(stored, proven.facts, sha256, stored_sha256, pixel_sha256.hexdigest(), segments)


def segments_worth_listing(stored: bytes, segments: list[int] | None) -> list[int] | None:
    """What the index says of where the parts of a stored image lie (genimage_stream/storage/segments.py)."""
    return segments if len(stored) >= WORTH_BYTES else None


def segments_of(stored: bytes) -> list[int] | None:
    """The same of an image of which nothing is known."""
    try:
        return png_segments(stored) if len(stored) >= WORTH_BYTES else None
    except DecodeError:
        return None
