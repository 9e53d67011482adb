"""One image, on the calling thread: `decode` its pixels, `inspect` its header, `check` that it is sound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, SupportsIndex

import numpy as np
import numpy.typing as npt

from genimage_stream.arguments import WrongKindError, whole
from genimage_stream.decode import _core
from genimage_stream.decode.checks import crop_rectangle
from genimage_stream.decode.other_formats import FORMATS, decode_other, inspect_other
from genimage_stream.resources import decoding_memory, parse_size

if TYPE_CHECKING:
    from typing_extensions import Buffer

DecodeError = _core.DecodeError


@dataclass(frozen=True)
class Limits:
    """The largest image that is decoded: its pixels and the bytes of its file, both at least 1. A larger one is a
    DecodeError, raised before memory is allocated for it.

    `memory`: bytes (or "1.5GB") that all threads of this process may take for images under way, beside the batches
    themselves; None: a quarter of what the machine or its cgroup has, and at most 2 GB. An image waits until there is
    room; one that would need more than all of it is a DecodeError.
    """

    max_pixels: int = 1 << 28
    max_bytes: int = 1 << 30
    memory: int | str | None = None

    def __post_init__(self) -> None:
        budget = decoding_memory() if self.memory is None else parse_size(self.memory)
        object.__setattr__(self, "memory", whole("Limits.memory", budget, 1, highest=(1 << 62) - 1))
        for name in ("max_pixels", "max_bytes"):
            value = whole(f"Limits.{name}", getattr(self, name), 1, highest=(1 << 63) - 1)
            object.__setattr__(self, name, value)

    @property
    def as_core(self) -> tuple[int, int, int]:
        """As the core takes them: `max_pixels`, `max_bytes`, `memory`."""
        assert isinstance(self.memory, int)
        return self.max_pixels, self.max_bytes, self.memory


@dataclass(frozen=True)
class ImageFacts:
    """What the header says. `mode` is Pillow's name for it.

    `jpeg_quality` and `chroma` are None for anything but a JPEG. `chroma`: "444", "422", "420", or "other", also for
    gray and CMYK.
    """

    format: str
    mode: str
    width: int
    height: int
    bit_depth: int
    jpeg_quality: int | None
    progressive: bool
    chroma: str | None = None


DEFAULT_LIMITS = Limits()


def share_memory(file: int, processes: int) -> None:
    """To be called in each of several processes that decode beside each other, before they do: images that take more
    than their part of the default `Limits.memory` are then decoded by one of them at a time. `file`: a descriptor of
    one open file, which is locked meanwhile; a process that ends, however it ends, lets go of it."""
    _core.share_leases(file, DEFAULT_LIMITS.as_core[2] // processes)


def need_limits(limits: Limits) -> None:
    """Raises WrongKindError for anything but a Limits."""
    if not isinstance(limits, Limits):
        raise WrongKindError(f"limits must be gs.Limits(max_pixels=..., max_bytes=...), not {limits!r}")


def decode(
    data: Buffer,
    *,
    crop: Sequence[SupportsIndex] | None = None,
    strict: bool = True,
    limits: Limits = DEFAULT_LIMITS,
) -> npt.NDArray[np.uint8]:
    """Decode an image, or the part `crop = (x, y, width, height)` of it, to (height, width, 3) uint8 RGB.

    The pixels are those of a full decode by libjpeg-turbo (accurate DCT, fancy upsampling) or libpng, cropped
    afterwards, and of WebP those of libwebp; AVIF, TIFF, GIF and BMP are decoded by Pillow. `strict=False` returns what
    the library would show of a truncated or damaged JPEG or PNG. Raises DecodeError (a ValueError) when the bytes are
    not a sound image, IndexError when the crop is not inside it, TypeError or ValueError for arguments of another kind.
    """
    need_limits(limits)
    if _core.sniff(data) in FORMATS:
        part = None if crop is None else crop_rectangle(crop)
        return decode_other(data, part, *limits.as_core)[0]
    try:
        return _core.decode(data, crop, strict, *limits.as_core)
    except TypeError:
        if crop is None:
            raise
    # Looked at only now, to say what is wrong with it: beforehand it would cost every crop microseconds.
    return _core.decode(data, crop_rectangle(crop), strict, *limits.as_core)


def inspect(data: Buffer, *, limits: Limits = DEFAULT_LIMITS) -> ImageFacts:
    """Read an image's header. Raises DecodeError when there is none."""
    need_limits(limits)
    if _core.sniff(data) in FORMATS:
        return facts_of(inspect_other(data, limits.max_pixels, limits.max_bytes))
    return facts_of(_core.inspect(data, limits.max_pixels, limits.max_bytes))


def sniff(data: Buffer) -> str:
    """The format that the first bytes say, e.g. "jpeg" or "webp"; "unknown" when they say none."""
    return _core.sniff(data)


def check(data: Buffer, *, limits: Limits = DEFAULT_LIMITS) -> ImageFacts:
    """Decode the whole image strictly and throw the pixels away: returns its facts, raises DecodeError."""
    need_limits(limits)
    if _core.sniff(data) in FORMATS:
        return facts_of(decode_other(data, None, *limits.as_core)[1])
    return facts_of(_core.check(data, *limits.as_core))


class Decoded(NamedTuple):
    """Pixels, facts, and the segments of a crop-ready PNG, see `png_segments`."""

    pixels: npt.NDArray[np.uint8]
    facts: ImageFacts
    segments: list[int] | None


def decode_with_facts(data: Buffer, *, limits: Limits = DEFAULT_LIMITS) -> Decoded:
    """`decode` of the whole image, strictly, and what its header says, which is read once."""
    need_limits(limits)
    if _core.sniff(data) in FORMATS:
        pixels, facts = decode_other(data, None, *limits.as_core)
        return Decoded(pixels, facts_of(facts), None)
    pixels, facts, segments = _core.decode_with_facts(data, *limits.as_core)
    return Decoded(pixels, facts_of(facts), segments)


def facts_of(core: tuple[str, str, int, int, int, int, bool, str]) -> ImageFacts:
    """The core's facts."""
    form, mode, width, height, bit_depth, quality, progressive, chroma = core
    known = quality if quality > 0 else None
    return ImageFacts(form, mode, width, height, bit_depth, known, progressive, chroma or None)
