"""JPEG pixels against Pillow's, over modes, samplings, sizes, qualities and crops."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

import genimage_stream as gs
from tests.genimage_stream.decode.jpeg.jpeg_files import SAMPLINGS, Pixels, encode, encode_sampled, picture, reference


def assert_same(data: bytes, seed: int = 0, crops: int = 4) -> None:
    """The full image equals Pillow's, and random crops equal its slices."""
    expected = reference(data)
    np.testing.assert_array_equal(gs.decode(data), expected)
    rng = np.random.default_rng(seed)
    height, width = expected.shape[:2]
    for _ in range(crops):
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        w, h = int(rng.integers(1, width - x + 1)), int(rng.integers(1, height - y + 1))
        np.testing.assert_array_equal(
            gs.decode(data, crop=(x, y, w, h)), expected[y : y + h, x : x + w], err_msg=f"crop {(x, y, w, h)}"
        )


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("progressive", [False, True], ids=["sequential", "progressive"])
def test_every_sampling_at_sizes_that_leave_partial_blocks(sampling: str, progressive: bool) -> None:
    rng = np.random.default_rng(1)
    for i in range(60):
        width, height = int(rng.integers(1, 51)), int(rng.integers(1, 51))
        quality = int(rng.integers(1, 101))
        assert_same(encode_sampled(picture(width, height, i), sampling, quality, progressive=progressive), i)


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("restart", [0, 1, 3, 7])
def test_crops_of_larger_images(sampling: str, restart: int) -> None:
    for width, height in [(211, 173), (160, 128), (97, 260)]:
        data = encode_sampled(picture(width, height), sampling, 92, restart=restart, optimize=restart == 3)
        assert_same(data, width, crops=25)


@pytest.mark.parametrize("quality", [1, 5, 20, 50, 75, 90, 96, 100])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("optimize", [False, True], ids=["standard", "optimized"])
def test_every_quality(quality: int, subsampling: int, optimize: bool) -> None:
    assert_same(encode(picture(121, 83), quality=quality, subsampling=subsampling, optimize=optimize))


@pytest.mark.parametrize(
    "option", [{"restart_marker_blocks": 2}, {"restart_marker_rows": 1}, {"restart_marker_rows": 2}]
)
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_restart_markers(option: dict[str, int], mode: str) -> None:
    assert_same(encode(picture(150, 131), mode, quality=90, **option), crops=12)


@pytest.mark.parametrize("mode", ["L", "CMYK", "1"])
@pytest.mark.parametrize("progressive", [False, True], ids=["sequential", "progressive"])
def test_modes_other_than_rgb(mode: str, progressive: bool) -> None:
    for width, height in [(1, 1), (7, 9), (64, 48), (133, 71)]:
        assert_same(encode(picture(width, height), mode, quality=88, progressive=progressive), crops=10)


def test_adobe_files_without_colour_transform_and_with_ycck() -> None:
    """The same samples under another transform code: RGB instead of YCbCr, YCCK instead of CMYK."""
    rgb = encode(picture(60, 44), quality=95, subsampling=0)
    adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
    without_jfif = rgb[:2] + adobe + rgb[rgb.index(b"\xff\xdb") :]
    assert_same(without_jfif)
    assert not np.array_equal(gs.decode(without_jfif), gs.decode(rgb))
    cmyk = encode(picture(60, 44), "CMYK", quality=95)
    at = cmyk.index(b"Adobe") + 11
    assert_same(cmyk[:at] + b"\x02" + cmyk[at + 1 :])
    assert_same(cmyk[:at] + b"\x00" + cmyk[at + 1 :])


def test_four_components_follow_the_rule_of_pillows_convert() -> None:
    data = encode(picture(50, 50), "CMYK", quality=100)
    with Image.open(BytesIO(data)) as image:
        inks = 255 - np.asarray(image).astype(np.int32)  # as stored: inverted
    t = inks[..., :3] * inks[..., 3:] + 128
    expected: Pixels = ((t + (t >> 8)) >> 8).astype(np.uint8)
    np.testing.assert_array_equal(gs.decode(data), expected)


def test_metadata_is_passed_over_and_never_applied() -> None:
    pixels = picture(64, 40)
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: to be turned by viewers
    data = encode(pixels, quality=90, exif=exif, comment=b"\xff\xd9" * 9, icc_profile=bytes(70000))
    assert gs.decode(data).shape == (40, 64, 3)
    assert_same(data)
    broken = data.replace(b"Exif\x00\x00", b"Exif\x00\x00\xff\xff\xff", 1)  # lengths no longer fit
    with pytest.raises(gs.DecodeError):
        gs.decode(b"\xff\xd8" + broken[20:26])
    bad_exif = data.replace(b"MM\x00\x2a", b"\xff\xff\xff\xff", 1).replace(b"II\x2a\x00", b"\xff\xff\xff\xff", 1)
    assert_same(bad_exif)


def test_any_contiguous_buffer_is_taken() -> None:
    data = encode(picture(40, 30))
    for buffer in (bytearray(data), memoryview(data), np.frombuffer(data, np.uint8)):
        np.testing.assert_array_equal(gs.decode(buffer), reference(data))
