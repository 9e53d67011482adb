"""AVIF, TIFF, GIF, BMP: what they are recognised by, and which limit holds for them."""

from __future__ import annotations

import io
import struct
import warnings
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

import genimage_stream as gs
from genimage_stream.decode import _core

PICTURE = Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 50, 3), dtype=np.uint8))


def encoded(form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    PICTURE.save(file, form, **options)
    return file.getvalue()


def huge_bmp(width: int, height: int) -> bytes:
    """The header of a bitmap of one bit per pixel, and nothing behind it."""
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 1, 0, 0, 0, 0, 2, 2)
    return b"BM" + struct.pack("<IHHI", 62, 0, 0, 62) + info + b"\0\0\0\0\xff\xff\xff\0"


def test_big_tiff() -> None:
    """By hand: 2 x 1 gray pixels. (Of the other byte order Pillow 13 reads the header as that of a plain TIFF.)"""
    entries = [
        (256, 3, 2),
        (257, 3, 1),
        (258, 3, 8),
        (259, 3, 1),
        (262, 3, 1),
        (273, 16, 192),
        (277, 3, 1),
        (279, 3, 2),
    ]
    data = b"II" + struct.pack("<HHHQQ", 43, 8, 0, 16, len(entries))
    for tag, kind, value in entries:
        data += struct.pack("<HHQQ", tag, kind, 1, value)
    data = (data + bytes(8)).ljust(192, b"\0") + b"\x10\xf0"
    assert gs.inspect(data).format == "tiff"
    np.testing.assert_array_equal(gs.decode(data)[0, :, 0], [0x10, 0xF0])


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
@pytest.mark.parametrize("major", [b"mif1", b"msf1"])
def test_avif_by_a_compatible_brand(major: bytes) -> None:
    data = encoded("AVIF")
    general = data.replace(b"ftypavif", b"ftyp" + major, 1)
    assert gs.inspect(general).format == "avif"
    np.testing.assert_array_equal(gs.decode(general), gs.decode(data))


@pytest.mark.parametrize(
    ("head", "form"),
    [
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", "avif"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0avismif1", "avif"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "unknown"),
        (b"\0\0\0\x14ftypmif1\0\0\0\0mif1avif", "unknown"),  # behind the end of the box
        (b"\0\0\0\x18ftypmif1\0\0avifmif1heic", "unknown"),  # no brand begins there
        (b"\0\0\0\x18ftypheic\0\0\0\0avifmif1", "unknown"),
        (b"\xff\xff\xff\xffftypmif1\0\0\0\0mif1av", "unknown"),
        (b"\0\0\0\x18ftypavis", "avif"),
        (b"II+\0", "tiff"),
        (b"MM\0+", "tiff"),
        (b"II+", "unknown"),
    ],
)
def test_first_bytes(head: bytes, form: str) -> None:
    assert _core.sniff(head) == form
    assert _core.sniff(bytearray(head)) == form


def test_an_unknown_format_is_told_the_known_ones() -> None:
    for call in (gs.decode, gs.inspect, gs.check):
        with pytest.raises(gs.DecodeError, match=r"JPEG, PNG, WebP, AVIF, TIFF, GIF, BMP"):
            call(b"404 not found")


@pytest.mark.parametrize("size", [(10_000, 10_000), (20_000, 10_000)], ids=["warned of", "refused"])
def test_pillows_limit_gives_way_to_ours(size: tuple[int, int]) -> None:
    """Pillow warns above 89 million pixels and refuses above 179: neither decides here."""
    data = huge_bmp(*size)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        facts = gs.inspect(data)
        assert (facts.width, facts.height) == size
        with pytest.raises(gs.DecodeError, match=r"pixels, more than the limit of 1000000$"):
            gs.decode(data, limits=gs.Limits(max_pixels=1_000_000))


def test_pillows_own_refusal_names_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for form in ("BMP", "GIF"):
            np.testing.assert_array_equal(gs.decode(encoded(form)).shape, (40, 50, 3))
        try:
            gs.decode(encoded("TIFF"))
        except gs.DecodeError as error:  # newer versions ask again
            assert "PIL.Image.MAX_IMAGE_PIXELS: raise it" in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64, "Git LFS pointer.*git lfs pull"),
        (b"\xef\xbb\xbf\n <!DOCTYPE HTML><html>", "a web page.*download it again"),
        (b"<html>", "a web page"),
        (b"<svg xmlns=''>", "an SVG drawing.*render it as PNG"),
        (b"<?xml version='1.0'?>\n<!-- x --><svg>", "an SVG drawing"),
        (b"<?xml version='1.0'?><rss>", "no known format"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC image.*convert it"),
        (b"\xff\x0a\xfa", "a JPEG XL image.*djxl"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image"),
        (b"<", "no known format"),
        (b" \n", "no known format"),
    ],
)
def test_what_lies_in_place_of_an_image_is_named(data: bytes, said: str) -> None:
    with pytest.raises(gs.DecodeError, match=said):
        gs.decode(data)
