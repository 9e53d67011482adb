"""The built-in JPEG decoder, plain and vectorised, against libjpeg-turbo: the same pixels or the same error."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import genimage_stream as gs
from genimage_stream.decode import _core
from tests.genimage_stream.decode.jpeg.jpeg_files import SAMPLINGS, Pixels, encode, encode_sampled, picture

OWN = ("own", "no_pdep", "plain")
Crop = tuple[int, int, int, int]


@pytest.fixture(autouse=True)
def _usual_path_afterwards() -> Iterator[None]:
    yield
    _core.set_jpeg_path("auto")


def by(path: str, data: bytes, *, strict: bool = True, crop: Crop | None = None) -> Pixels | str:
    """The pixels, or the message of the error."""
    _core.set_jpeg_path(path)
    try:
        return gs.decode(data, strict=strict, crop=crop, limits=gs.Limits(max_pixels=1 << 20))
    except (gs.DecodeError, IndexError) as error:
        return str(error)


def assert_alike(data: bytes, *, strict: bool = True, crop: Crop | None = None) -> None:
    expected = by("libjpeg", data, strict=strict, crop=crop)
    for path in OWN:
        got = by(path, data, strict=strict, crop=crop)
        if isinstance(expected, str) and crop is not None and not isinstance(got, str):
            continue  # damage outside the crop: libjpeg decodes more around it than our decoder does
        alike = got == expected if isinstance(got, str) else np.array_equal(got, expected)
        assert alike, f"{path} strict={strict} crop={crop}"


def variants(width: int, height: int, seed: int) -> Iterator[bytes]:
    pixels = picture(width, height, seed)
    rng = np.random.default_rng(seed)
    for sampling in SAMPLINGS:
        quality = int(rng.integers(1, 101))
        yield encode_sampled(
            pixels, sampling, quality, restart=int(rng.integers(0, 6)), optimize=bool(rng.integers(0, 2))
        )
        yield encode_sampled(pixels, sampling, quality, restart=int(rng.integers(0, 6)), progressive=True)
    for progressive in (False, True):
        blocks = int(rng.integers(0, 5))
        yield encode(
            pixels, "L", quality=int(rng.integers(1, 101)), restart_marker_blocks=blocks, progressive=progressive
        )


def random_crop(rng: np.random.Generator, width: int, height: int) -> Crop:
    x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
    return x, y, int(rng.integers(1, width - x + 1)), int(rng.integers(1, height - y + 1))


def test_sound_files() -> None:
    rng = np.random.default_rng(11)
    for seed in range(20):
        width, height = int(rng.integers(1, 120)), int(rng.integers(1, 120))
        for data in variants(width, height, seed):
            assert_alike(data)
            for _ in range(3):
                assert_alike(data, crop=random_crop(rng, width, height))


def entropy_begin(data: bytes) -> int:
    at = data.index(b"\xff\xda")
    return at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")


@pytest.mark.parametrize("place", ["entropy", "header", "tables"])
def test_damaged_files(place: str) -> None:
    rng = np.random.default_rng(12)
    for seed in range(4):
        width, height = int(rng.integers(20, 90)), int(rng.integers(20, 90))
        for data in variants(width, height, seed):
            begin = entropy_begin(data)
            where = {"entropy": (begin, len(data)), "header": (2, begin), "tables": (data.index(b"\xff\xdb"), begin)}[
                place
            ]
            for _ in range(6):
                bad = bytearray(data)
                for _ in range(int(rng.integers(1, 3))):
                    at = int(rng.integers(*where))
                    bad[at] = (
                        bad[at] ^ 1 << int(rng.integers(0, 8)) if rng.integers(0, 2) else int(rng.integers(0, 256))
                    )
                for strict in (True, False):
                    assert_alike(bytes(bad), strict=strict)
                    assert_alike(bytes(bad), strict=strict, crop=random_crop(rng, 20, 20))


def test_bytes_lost_or_doubled() -> None:
    rng = np.random.default_rng(13)
    for seed in range(3):
        for data in variants(60, 70, seed):
            begin = entropy_begin(data)
            for _ in range(6):
                a, b = sorted(int(v) for v in rng.integers(begin, len(data), 2))
                for bad in (data[:a] + data[b:], data[:b] + data[a:], data[:a], data[:a] + b"\xff\xd9"):
                    for strict in (True, False):
                        assert_alike(bad, strict=strict)


def test_coefficients_that_overflow() -> None:
    """Sound Huffman codes, hostile quantisers: every product and sum of the transform wraps or saturates alike."""
    rng = np.random.default_rng(14)
    for seed in range(16):
        for data in variants(48, 40, seed):
            bad = bytearray(data)
            at = bad.index(b"\xff\xdb") + 5
            while True:  # all the tables
                table = rng.choice([1, 255, 254, 128, 64, 16], 64) if seed % 2 else rng.integers(1, 256, 64)
                bad[at : at + 64] = bytes(table.astype(np.uint8))
                following = bad.find(b"\xff\xdb", at + 60)
                if following < 0:
                    break
                at = following + 5
            assert_alike(bytes(bad))
            assert_alike(bytes(bad), crop=(9, 8, 20, 20))


def test_huffman_tables_of_every_shape() -> None:
    """Tables from the statistics of noise and of flat pictures, whose codes are long, few, or both."""
    rng = np.random.default_rng(15)
    for seed in range(30):
        kind = seed % 3
        if kind == 0:
            pixels = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        elif kind == 1:
            pixels = np.full((64, 64, 3), rng.integers(0, 256), np.uint8)
            pixels[int(rng.integers(64)), int(rng.integers(64))] = 255
        else:
            pixels = np.where(rng.random((64, 64, 1)) < 0.02, 255, 0).astype(np.uint8).repeat(3, 2)
        for quality in (5, 60, 100):
            assert_alike(encode(pixels, quality=quality, optimize=True, subsampling=seed % 3))


def test_the_wholes_of_large_images() -> None:
    for sampling in SAMPLINGS:
        assert_alike(encode_sampled(picture(601, 317), sampling, 93))


def test_unknown_paths_are_refused() -> None:
    with pytest.raises(ValueError, match="no such JPEG path"):
        _core.set_jpeg_path("gpu")
