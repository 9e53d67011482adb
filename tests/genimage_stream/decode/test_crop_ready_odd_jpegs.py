"""JPEGs that decoders take and that cannot be recoded or cut, and crops that are none."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from typing import Any

import numpy as np
import pytest

import genimage_stream as gs
from genimage_stream.decode import _core
from genimage_stream.decode.crop_ready import recode, recode_proven
from tests.fixtures.jpegs import jpeg, photograph, pillow_rgb


def made(data: bytes) -> bytes:
    stored, why = recode(data)
    assert stored is not None, why
    return stored


def odd_files() -> dict[str, tuple[bytes, str]]:
    """Files that decoders take, with the reason why they are not recoded."""
    plain = jpeg(250, 188)
    frame = plain.index(b"\xff\xc0")
    scans = b"0;\n1;\n2;\n"
    stray = "bytes that belong to no segment"
    odd = {
        "between segments": (plain[:frame] + b"\0\0abc" + plain[frame:], stray),
        "stuffed bytes between segments": (plain[:frame] + b"\xff\0\x07" + plain[frame:], stray),
        "before the end marker": (plain[:-2] + bytes(40) + plain[-2:], stray),
    }
    if shutil.which("cjpeg"):
        pixels = photograph(250, 188)
        with tempfile.NamedTemporaryFile() as script:
            script.write(scans)
            script.flush()
            for factors in ("2x2,2x2,2x2", "4x4,1x1,1x1"):
                made = subprocess.run(
                    ["cjpeg", "-sample", factors, "-scans", script.name],
                    input=b"P6 250 188 255\n" + pixels.tobytes(),
                    capture_output=True,
                    check=True,
                )
                odd[factors] = made.stdout, "sampling factors that one baseline scan cannot hold"
    return odd


@pytest.mark.parametrize("path", ["auto", "libjpeg"])
def test_odd_files_that_decode_stay_as_they_are(path: str) -> None:
    try:
        _core.set_jpeg_path(path)
        for name, (data, reason) in odd_files().items():
            assert np.array_equal(gs.decode(data), pillow_rgb(data)), name
            assert recode(data) == (None, reason), name
            assert recode_proven(data, bytes) == (None, reason, gs.inspect(data), None), name
            crop = (3, 3, 50, 50)
            assert gs.crop_jpeg(data, crop) == (data, crop), name
            assert np.array_equal(gs.decode(data, crop=crop), pillow_rgb(data)[3:53, 3:53]), name
    finally:
        _core.set_jpeg_path("auto")


def test_bytes_between_the_segments_of_a_crop_ready_file() -> None:
    stored = made(jpeg(250, 188))
    frame = stored.index(b"\xff\xc0")
    odd = stored[:frame] + b"\0" + stored[frame:]
    assert gs.crop_jpeg(odd, (3, 3, 50, 50)) == (odd, (3, 3, 50, 50))
    assert np.array_equal(gs.decode(odd, crop=(3, 3, 50, 50)), gs.decode(stored)[3:53, 3:53])


@pytest.mark.parametrize("crop", [None, 7, (1, 2, 3), (1, 2, 3, 4, 5), (0.0, 0, 5, 5), "abcd", (None, 0, 5, 5)])
def test_crops_that_are_not_four_numbers(crop: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"crop must be four whole numbers \(x, y, width, height\), not"):
        gs.crop_jpeg(jpeg(100, 50), crop)


def test_numpy_numbers_are_numbers() -> None:
    stored = made(jpeg(100, 50))
    crop: Any = np.array([3, 4, 20, 20], np.int32)
    assert gs.crop_jpeg(stored, crop) == gs.crop_jpeg(stored, (3, 4, 20, 20))
