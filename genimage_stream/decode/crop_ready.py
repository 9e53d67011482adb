"""The crop-ready form of a file (lossless), and small JPEGs cut out of it without decoding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, SupportsIndex

from genimage_stream.arguments import whole
from genimage_stream.decode import _core
from genimage_stream.decode.checks import Crop, crop_rectangle
from genimage_stream.decode.image import DEFAULT_LIMITS, ImageFacts, Limits, facts_of, need_limits
from genimage_stream.decode.other_formats import FORMATS, decode_other

if TYPE_CHECKING:
    from typing_extensions import Buffer

DEFAULT_PNG_LEVEL = 4
DEFAULT_BAND_ROWS = 32
DEFAULT_TILE_WIDTH = 256
DEFAULT_INTERVAL_WIDTH = 64


def crop_jpeg(data: Buffer, crop: Sequence[SupportsIndex]) -> tuple[bytes, Crop]:
    """Cut a small JPEG that holds `crop = (x, y, width, height)` out of a larger one, without decoding.

    Returns `(bytes, inner_crop)`: decoding those bytes and slicing by `inner_crop` gives the pixels that decoding
    `data` and slicing by `crop` gives, bit for bit with libjpeg-turbo. The cut is an ordinary baseline JPEG, so any
    decoder takes it, nvJPEG included. EXIF, ICC profile and comments are left out of it: an EXIF rotation would
    otherwise move the crop.

    Cutting needs restart intervals that divide the rows of MCUs, as crop-ready files have them. From any other JPEG
    (progressive, say) the whole file comes back, with `crop` as it is: right, but nothing is gained.

    Raises DecodeError when `data` is not a JPEG or its header or a restart marker is damaged, IndexError when the crop
    is not inside the image, and TypeError or ValueError when it is not four whole numbers.
    """
    cut, inner = _core.crop_jpeg(data, crop_rectangle(crop))
    return (bytes(data) if cut is None else cut), inner


def make_crop_ready(
    data: Buffer, *, png_level: int = DEFAULT_PNG_LEVEL, limits: Limits = DEFAULT_LIMITS
) -> bytes | None:
    """Recode a JPEG or PNG losslessly so that decoding a crop costs what the crop costs.

    `png_level` trades size for speed: 0 stores PNG rows as they are (largest, nothing to inflate; as 4 where the file
    would be more than four times as large, or a row has more than 65,535 bytes), 1 to 5 code them without matches, 6 to
    9 with (smallest, slowest to read). It does not touch JPEGs.

    Returns the new file, or None when the file is to stay as it is (`recode` says why). To every other reader it is an
    ordinary file with the same pixels. Raises DecodeError when `data` is damaged or exceeds `limits`.
    """
    return recode(data, png_level=png_level, limits=limits)[0]


def png_segments(data: Buffer) -> list[int] | None:
    """Where the bands of a crop-ready PNG lie: the rows of a band, the position of the first one in the file, and where
    each of them ends. None for any other file, or when the file's table is not sound. Raises DecodeError for a PNG
    whose header is damaged."""
    return _core.png_segments(data)


def recode(
    data: Buffer,
    *,
    png_level: int = DEFAULT_PNG_LEVEL,
    band_rows: int = DEFAULT_BAND_ROWS,
    tile_width: int = DEFAULT_TILE_WIDTH,
    interval_width: int = DEFAULT_INTERVAL_WIDTH,
    limits: Limits = DEFAULT_LIMITS,
) -> tuple[bytes | None, str | None]:
    """Do the work of `make_crop_ready`; returns `(new file, None)` or `(None, why the file stays as it is)`.

    `band_rows` and `tile_width` (pixels, 0: no tiles) shape PNGs, `interval_width` (pixels, 65535: a row; 0: no restart
    markers) JPEGs; the defaults are measured (docs/crop-ready.md).
    """
    need_limits(limits)
    shape = (
        whole("png_level", png_level, 0, highest=9),
        whole("band_rows", band_rows, 1, highest=65535),
        whole("tile_width", tile_width, 0, highest=65535),
        whole("interval_width", interval_width, 0, highest=65535),
    )
    result = _core.make_crop_ready(data, *shape, *limits.as_core)
    return (None, result) if isinstance(result, str) else (result, None)


class Proven(NamedTuple):
    """The new file, or why the file is to stay as it is; the image's facts, and the segments of what is to be stored,
    see `png_segments`."""

    file: bytes | None
    why: str | None
    facts: ImageFacts
    segments: list[int] | None


def recode_proven(
    data: Buffer,
    use: Callable[[Buffer], object],
    *,
    png_level: int = DEFAULT_PNG_LEVEL,
    limits: Limits = DEFAULT_LIMITS,
) -> Proven:
    """Decode an image of any format, recode it as `recode` does, decode the result and compare: what packing needs.

    Calls `use(pixels)` once with the decoded image, (height, width, 3) uint8 RGB, C-contiguous, valid during the call
    only. The file is also to stay as it is when it cannot be recoded or the new file does not show the same pixels (of
    a PNG: in all channels and bits). Raises DecodeError when `data` itself is damaged.
    """
    level = whole("png_level", png_level, 0, highest=9)
    need_limits(limits)
    if _core.sniff(data) in FORMATS:
        pixels, facts = decode_other(data, None, *limits.as_core)
        use(pixels.data)
        return Proven(None, "neither JPEG nor PNG", facts_of(facts), None)
    shape = level, DEFAULT_BAND_ROWS, DEFAULT_TILE_WIDTH, DEFAULT_INTERVAL_WIDTH
    result, facts, segments = _core.recode_proven(data, use, *shape, *limits.as_core)
    file, why = (None, result) if isinstance(result, str) else (result, None)
    return Proven(file, why, facts_of(facts), segments)
