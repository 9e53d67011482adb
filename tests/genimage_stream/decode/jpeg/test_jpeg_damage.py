"""Damaged, hostile and unusual JPEGs: what is an error, what is not, and what `strict=False` shows."""

from __future__ import annotations

from contextlib import suppress
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageFile

import genimage_stream as gs
from tests.genimage_stream.decode.jpeg.jpeg_files import Pixels, encode, encode_sampled, picture, reference


def tolerant_reference(data: bytes, monkeypatch: pytest.MonkeyPatch) -> Pixels:
    """What Pillow shows of a truncated file: it feeds libjpeg an end marker, as libjpeg's own source does."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with Image.open(BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("progressive", [False, True], ids=["sequential", "progressive"])
@pytest.mark.parametrize("restart", [0, 4])
def test_truncation_anywhere_is_an_error(progressive: bool, restart: int) -> None:
    data = encode_sampled(picture(120, 90), "4:2:0", 90, progressive=progressive, restart=restart)
    for end in [*range(0, 700, 7), *range(700, len(data), 41), len(data) - 2, len(data) - 1]:
        with pytest.raises(gs.DecodeError):
            gs.decode(data[:end])
        if end > 800:
            with pytest.raises(gs.DecodeError):
                gs.decode(data[:end], crop=(8, 0, 16, 8))


def header_with(data: bytes, kind: str) -> bytes:
    """A file whose header holds an end marker that is not the image's."""
    inner = encode(picture(40, 30, seed=1))
    segment = {
        "thumbnail": b"\xff\xe1" + (len(inner) + 8).to_bytes(2, "big") + b"Exif\0\0" + inner,
        "comment": b"\xff\xfe\x00\x08ab\xff\xd9cd",
    }[kind]
    return data[:2] + segment + data[2:]


@pytest.mark.parametrize("progressive", [False, True], ids=["sequential", "progressive"])
@pytest.mark.parametrize("kind", ["thumbnail", "comment"])
def test_an_end_marker_in_the_header_ends_nothing(kind: str, progressive: bool) -> None:
    """Found by review: a crop of a truncated file with an EXIF thumbnail passed for sound."""
    sound = encode(picture(160, 120), quality=90, progressive=progressive)
    data = header_with(sound, kind)
    np.testing.assert_array_equal(gs.decode(data, crop=(8, 0, 24, 16)), gs.decode(sound)[:16, 8:32])
    for cut in (len(data) * 2 // 3, len(data) - 2, len(data) - 1):
        with pytest.raises(gs.DecodeError, match="truncated JPEG"):
            gs.decode(data[:cut], crop=(8, 0, 24, 16))
        out = np.zeros((1, 3, 16, 24), np.uint8)
        (error,) = gs.decode_batch([data[:cut]], out, crops=[(8, 0)])
        assert "truncated JPEG" in error.message
        (error,) = gs.decode_batch([data[:cut]], out, crops=[(8, 0)], divert=[1])
        assert gs.decode(data[:cut], crop=(8, 0, 24, 16), strict=False).shape == (16, 24, 3)


def test_a_progressive_file_that_ends_early_and_says_so_is_accepted() -> None:
    """With scans missing and an end marker: libjpeg finds nothing wrong, and smooths what is coarse. A crop is a slice
    of it all the same."""
    data = encode(picture(160, 120), quality=90, progressive=True)
    second = data.index(b"\xff\xc4", data.index(b"\xff\xda"))
    ended = data[:second] + b"\xff\xd9"
    np.testing.assert_array_equal(gs.decode(ended, crop=(30, 20, 50, 40)), gs.decode(ended)[20:60, 30:80])


def test_not_strict_shows_what_libjpeg_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    for restart in (0, 4):
        data = encode_sampled(picture(120, 90), "4:2:0", 90, restart=restart)
        start = data.index(b"\xff\xda") + 14
        for end in range(start, len(data), 97):
            shown = gs.decode(data[:end], strict=False)
            np.testing.assert_array_equal(shown, tolerant_reference(data[:end], monkeypatch))
            part = gs.decode(data[:end], strict=False, crop=(30, 20, 50, 40))
            np.testing.assert_array_equal(part, shown[20:60, 30:80])


def test_the_message_says_truncated_or_damaged() -> None:
    data = encode(picture(100, 80), quality=90)
    with pytest.raises(gs.DecodeError, match="truncated JPEG"):
        gs.decode(data[: len(data) // 2])
    with pytest.raises(gs.DecodeError, match="truncated JPEG"):
        gs.decode(data[: len(data) // 2], crop=(0, 0, 8, 8))
    start = data.index(b"\xff\xda") + 14
    middle = (start + len(data)) // 2
    with pytest.raises(gs.DecodeError, match="damaged JPEG"):
        gs.decode(data[:middle] + b"\xff\xd3" + data[middle:])
    with pytest.raises(gs.DecodeError, match="empty"):
        gs.decode(b"")


def test_bytes_behind_the_end_are_nobodys_business() -> None:
    data = encode(picture(100, 80), quality=90)
    for tail in (b"\x00", b"\xff", bytes(1000), b"trailer " * 500, data):
        np.testing.assert_array_equal(gs.decode(data + tail), reference(data))


def test_harmless_oddities_of_real_files() -> None:
    data = encode(picture(100, 80), quality=90)
    expected = reference(data)
    table = data.index(b"\xff\xdb")
    for odd in (
        data[:-2] + b"\x00\x00" + data[-2:],  # left over before the end marker
        data[:-2] + b"\xff\xff\xff" + data[-2:],  # fill bytes before a marker
        data[:table] + b"\x00\x00" + data[table:],  # left over between segments
        data[:11] + b"\x07\x02" + data[13:],  # a JFIF version that does not exist
        data[:2] + b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x07" + data[table:],  # unknown transform code
    ):
        np.testing.assert_array_equal(gs.decode(odd), expected)


def test_a_lost_restart_marker_is_an_error() -> None:
    data = encode_sampled(picture(120, 90), "4:2:0", 90, restart=4)
    at = data.index(b"\xff\xd2")
    for bad in (data[:at] + data[at + 2 :], data[: at + 1] + b"\xd5" + data[at + 2 :]):
        with pytest.raises(gs.DecodeError, match="damaged JPEG"):
            gs.decode(bad)
        assert gs.decode(bad, strict=False).shape == (90, 120, 3)


def test_kinds_that_are_not_decoded_say_so() -> None:
    data = encode(picture(32, 32))
    frame = data.index(b"\xff\xc0")
    with pytest.raises(gs.DecodeError, match="12 bits"):
        gs.decode(data[: frame + 4] + b"\x0c" + data[frame + 5 :])
    two = data[: frame + 9] + b"\x02" + data[frame + 10 :]
    with pytest.raises(gs.DecodeError):
        gs.decode(two)
    with pytest.raises(gs.DecodeError):  # height 0: to be defined by a later DNL segment
        gs.decode(data[: frame + 5] + b"\x00\x00" + data[frame + 7 :])


def test_limits() -> None:
    data = encode(picture(100, 80))
    with pytest.raises(gs.DecodeError, match="limit"):
        gs.decode(data, limits=gs.Limits(max_pixels=7999))
    with pytest.raises(gs.DecodeError, match="limit"):
        gs.decode(data, limits=gs.Limits(max_bytes=len(data) - 1))
    assert gs.decode(data, limits=gs.Limits(max_pixels=8000, max_bytes=len(data))).shape == (80, 100, 3)


def test_a_progressive_file_of_endless_scans_is_refused() -> None:
    data = encode(picture(64, 64), progressive=True)
    last = data.rindex(b"\xff\xda")
    bomb = data[:-2] + data[last:-2] * 300 + data[-2:]
    with pytest.raises(gs.DecodeError):
        gs.decode(bomb)
    with pytest.raises(gs.DecodeError, match="scans"):
        gs.decode(bomb, strict=False)


@pytest.mark.parametrize(
    "crop", [(-1, 0, 5, 5), (0, -1, 5, 5), (0, 0, 0, 5), (0, 0, 5, 0), (60, 0, 5, 5), (0, 41, 1, 8)]
)
def test_a_crop_outside_the_image_is_an_index_error(crop: tuple[int, int, int, int]) -> None:
    with pytest.raises(IndexError):
        gs.decode(encode(picture(64, 48)), crop=crop)


def test_random_damage_never_does_more_than_raise() -> None:
    rng = np.random.default_rng(5)
    files = [
        encode(picture(70, 50), quality=85),
        encode(picture(70, 50), quality=85, progressive=True),
        encode(picture(70, 50), "L", quality=85),
        encode(picture(70, 50), "CMYK", quality=85),
        encode_sampled(picture(70, 50), "4:1:1", 85, restart=2),
    ]
    for data in files:
        for _ in range(150):
            bad = bytearray(data)
            for _ in range(int(rng.integers(1, 6))):
                bad[int(rng.integers(2, len(bad)))] = int(rng.integers(0, 256))
            for strict in (True, False):
                with suppress(gs.DecodeError):
                    gs.decode(bad, strict=strict, limits=gs.Limits(max_pixels=1 << 22))


def test_no_image_depends_on_the_one_before() -> None:
    """libjpeg itself keeps the tables of an image for later ones that have none."""
    data = encode(picture(60, 40), quality=35, optimize=True)
    table = data.index(b"\xff\xdb")
    without = data[:table] + data[table + 2 + int.from_bytes(data[table + 2 : table + 4], "big") :]
    for _ in range(2):
        with pytest.raises(gs.DecodeError):
            gs.decode(without)
        gs.decode(data)


def test_a_component_without_a_table_that_the_first_scan_does_not_hold() -> None:
    """Found by fuzzing: the tables of all components were set up after only the first scan's were checked."""
    data = encode(picture(60, 40), quality=80, progressive=True)
    first = data.index(b"\xff\xda")
    second = data.index(b"\xff\xc4", first)  # Pillow puts a Huffman table before every later scan
    luma_first = data[:first] + data[second:]
    tables = [at for at in range(first) if data[at : at + 2] == b"\xff\xdb"]
    assert len(tables) == 2
    size = 2 + int.from_bytes(data[tables[1] + 2 : tables[1] + 4], "big")
    without = luma_first[: tables[1]] + luma_first[tables[1] + size :]
    for file in (luma_first, without):
        for strict in (True, False):
            with suppress(gs.DecodeError):
                gs.decode(file, strict=strict)
    with pytest.raises(gs.DecodeError):
        gs.decode(without)


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "lenient"])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_an_image_within_what_may_be_taken_for_a_segment(mode: str, strict: bool) -> None:
    """FF 00 is no marker: the header behind it is the file's, not the one behind the segment that it is not."""
    inner, outer = encode(picture(1200, 40), mode, quality=30), encode(picture(16, 16), mode)
    assert len(inner) < 65000
    data = outer[:2] + b"\xff\x00" + len(inner).to_bytes(2, "big") + inner[2:] + outer[2:]
    assert (gs.inspect(data).width, gs.inspect(data).height) == (1200, 40)
    np.testing.assert_array_equal(gs.decode(data, strict=strict), gs.decode(inner))
    np.testing.assert_array_equal(gs.decode(data, strict=strict, crop=(3, 5, 16, 16)), gs.decode(inner)[5:21, 3:19])
    with pytest.raises(gs.DecodeError, match="limit"):
        gs.decode(data, limits=gs.Limits(max_pixels=1000))


def test_lossless_files_are_refused_by_every_version_of_libjpeg() -> None:
    data = encode(picture(16, 16))
    for marker in (b"\xff\xc3", b"\xff\xc7", b"\xff\xcb", b"\xff\xcf"):
        with pytest.raises(gs.DecodeError, match="lossless"):
            gs.decode(data.replace(b"\xff\xc0", marker, 1))
