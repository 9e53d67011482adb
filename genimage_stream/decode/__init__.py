"""Encoded bytes to pixels: the typed face of the C++ core in `cpp/`."""

from __future__ import annotations

from genimage_stream.decode import extension

extension.load()  # first: it says what is wrong better than the imports below

from genimage_stream.decode.batch import (  # noqa: E402
    BatchDecoder,
    Diverted,
    FileRanges,
    FileSet,
    ImageError,
    Job,
    JobStats,
    PartialBytes,
    covering_size,
    decode_batch,
)
from genimage_stream.decode.crop_ready import crop_jpeg, make_crop_ready  # noqa: E402
from genimage_stream.decode.image import DecodeError, ImageFacts, Limits, check, decode, inspect  # noqa: E402
from genimage_stream.decode.pixels import PixelOptions  # noqa: E402
from genimage_stream.decode.planned import PlannedSteps  # noqa: E402

__all__ = [
    "BatchDecoder",
    "DecodeError",
    "Diverted",
    "FileRanges",
    "FileSet",
    "ImageError",
    "ImageFacts",
    "Job",
    "JobStats",
    "Limits",
    "PartialBytes",
    "PixelOptions",
    "PlannedSteps",
    "check",
    "covering_size",
    "crop_jpeg",
    "decode",
    "decode_batch",
    "inspect",
    "make_crop_ready",
]
