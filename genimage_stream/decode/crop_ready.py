"""The crop-ready form of a file (lossless), and small JPEGs cut out of it without decoding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genimage_stream.decode import _core

if TYPE_CHECKING:
    from typing_extensions import Buffer

Crop = tuple[int, int, int, int]


def crop_jpeg(data: Buffer, crop: Crop) -> tuple[bytes, Crop]:
    """Cut a small JPEG that holds `crop = (x, y, width, height)` out of a larger one, without decoding.

    Returns `(bytes, inner_crop)`: decoding those bytes and slicing by `inner_crop` gives the pixels that decoding
    `data` and slicing by `crop` gives, bit for bit with libjpeg-turbo. The cut is an ordinary baseline JPEG, so any
    decoder takes it, nvJPEG included. EXIF, ICC profile and comments are left out of it: an EXIF rotation would
    otherwise move the crop.

    Cutting needs restart intervals that divide the rows of MCUs, as crop-ready files have them. From any other JPEG
    (progressive, say) the whole file comes back, with `crop` as it is: right, but nothing is gained.

    Raises DecodeError when `data` is not a JPEG or its header or a restart marker is damaged, and IndexError when the
    crop is not inside the image.
    """
    cut, inner = _core.crop_jpeg(data, crop)
    return (bytes(data) if cut is None else cut), inner


def make_crop_ready(data: Buffer) -> bytes | None:
    """Recode a JPEG or PNG losslessly so that decoding a crop costs what the crop costs.

    Returns the new file, or None when the file is to stay as it is (see `why_not_crop_ready`). To every other reader it
    is an ordinary file with the same pixels. Raises DecodeError when `data` is damaged.
    """
    result = _core.make_crop_ready(data)
    return result if isinstance(result, bytes) else None


def why_not_crop_ready(data: Buffer) -> str | None:
    """Say why `make_crop_ready` leaves a file as it is; None when it does not."""
    result = _core.make_crop_ready(data)
    return result if isinstance(result, str) else None
