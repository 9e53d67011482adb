"""Encoded bytes to pixels: the typed face of the C++ core in `core/`."""

from __future__ import annotations

from genimage_stream.decode.crop_ready import crop_jpeg, make_crop_ready
from genimage_stream.decode.image import DecodeError, ImageFacts, Limits, decode, inspect

__all__ = ["DecodeError", "ImageFacts", "Limits", "crop_jpeg", "decode", "inspect", "make_crop_ready"]
