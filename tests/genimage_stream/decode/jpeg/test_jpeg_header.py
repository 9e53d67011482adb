"""Unusual JPEG headers: decoding, cutting, recoding and diversion understand them alike, as libjpeg-turbo does."""

from __future__ import annotations

import numpy as np
import pytest

import genimage_stream as gs
from genimage_stream.decode.crop_ready import recode, recode_proven
from tests.fixtures.jpegs import jpeg

WINDOW = (8, 16, 40, 30)
JFIF_SIZE = 18  # of the segment that Pillow writes first, with its marker
ADOBE = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"


def made(data: bytes) -> bytes:
    stored, why = recode(data)
    assert stored is not None, why
    return stored


def in_header(data: bytes, inserted: bytes) -> bytes:
    frame = data.index(b"\xff\xc0")
    return data[:frame] + inserted + data[frame:]


def diverted(data: bytes) -> bool:
    """Whether a batch leaves the image to another decoder."""
    x, y, width, height = WINDOW
    out = np.zeros((1, 3, height, width), np.uint8)
    with gs.BatchDecoder(1) as decoder:
        job = decoder.submit([data], out, crops=[(x, y)], divert=[1])
        job.wait()
        return len(job.diverted()) == 1


@pytest.mark.parametrize(
    "inserted",
    [
        *(bytes([0xFF, code, 0, 4, 0x61, 0x62]) for code in (0x02, 0xBF, 0xC8, 0xDE, 0xF0, 0xFD)),
        b"\xff\xd8",  # a second start of image
        b"\xff\xc0\x00\x11\x08\x00\x20\x00\x20\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01",  # a second frame
        b"\xff\xdd\x00\x05\x00\x04\x00",  # a restart interval of three bytes
    ],
    ids=lambda inserted: inserted[:2].hex(),
)
def test_what_libjpeg_refuses_nobody_takes(inserted: bytes) -> None:
    data = in_header(made(jpeg(250, 188)), inserted)
    assert gs.inspect(data).format == "jpeg"
    for call in (gs.decode, recode, lambda bad: recode_proven(bad, bytes), lambda bad: gs.crop_jpeg(bad, WINDOW)):
        with pytest.raises(gs.DecodeError, match="damaged JPEG"):
            call(data)
    assert not diverted(data)


def test_a_marker_without_a_length_is_passed_over_everywhere() -> None:
    plain = jpeg(250, 188)
    pixels = gs.decode(plain)
    late = jpeg(250, 188, progressive=True)
    scan = late.index(b"\xff\xc4", late.index(b"\xff\xda"))
    for data in (in_header(plain, b"\xff\x01"), late[:scan] + b"\xff\x01" + late[scan:]):
        stored = made(data)
        np.testing.assert_array_equal(gs.decode(stored), gs.decode(data))
        np.testing.assert_array_equal(gs.decode(data, crop=WINDOW), gs.decode(data)[16:46, 8:48])
    assert diverted(in_header(plain, b"\xff\x01"))
    np.testing.assert_array_equal(gs.decode(in_header(plain, b"\xff\x01")), pixels)


def test_jfif_outweighs_adobe_and_contradictions_are_not_diverted() -> None:
    plain = jpeg(250, 188)
    bare = plain[:2] + plain[2 + JFIF_SIZE :]
    pixels = gs.decode(plain)
    rgb = gs.decode(in_header(bare, ADOBE + b"\x00"))
    assert not np.array_equal(rgb, pixels)
    for data, shown, goes in (
        (plain, pixels, True),
        (bare, pixels, True),
        (in_header(plain, ADOBE + b"\x00"), pixels, False),
        (in_header(plain, ADOBE + b"\x01"), pixels, True),
        (in_header(bare, ADOBE + b"\x00" + ADOBE + b"\x01"), pixels, True),
        (in_header(bare, ADOBE + b"\x01" + ADOBE + b"\x00"), rgb, False),
    ):
        np.testing.assert_array_equal(gs.decode(data), shown)
        assert diverted(data) == goes


def test_an_end_marker_before_the_scan() -> None:
    data = in_header(jpeg(250, 188), b"\xff\xd9")
    for call in (gs.inspect, gs.decode, recode, lambda bad: gs.crop_jpeg(bad, WINDOW)):
        with pytest.raises(gs.DecodeError, match="end marker within the header"):
            call(data)
