"""Damaged, truncated and hostile PNG files: an error that says what is wrong, or what can be shown of them."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from genimage_stream.decode import DecodeError, Limits, decode, inspect
from tests.fixtures import png

SAMPLES = png.random_samples(np.random.default_rng(0), 40, 50, png.RGB, 8)
EXPECTED = png.as_rgb(SAMPLES, png.RGB, 8)
SOUND = png.write_png(SAMPLES, png.RGB, 8, idat_sizes=(1000, 0, 1500))
RAW = png.filtered(SAMPLES, 8, (0, 1, 2, 3, 4))
HEADER = png.ihdr(50, 40, 8, png.RGB)


def rows_shown(data: bytes) -> int:
    """Decodes leniently; the picture must be the sound one down to some row, and black below it."""
    pixels = decode(data, strict=False)
    wrong = np.flatnonzero((pixels != EXPECTED).any(axis=(1, 2)))
    shown = int(wrong[0]) if len(wrong) else len(EXPECTED)
    assert not pixels[shown:].any()
    return shown


def test_every_truncation() -> None:
    shown = []
    for size in [*range(100), *range(100, len(SOUND) - 100, 23), *range(len(SOUND) - 100, len(SOUND))]:
        with pytest.raises(DecodeError, match=r"truncated|damaged|no known format|empty"):
            decode(SOUND[:size])
        if size >= SOUND.index(b"IDAT") + 10:
            shown.append(rows_shown(SOUND[:size]))
    assert shown == sorted(shown)
    assert shown[0] == 0
    assert shown[-1] == 40


@pytest.mark.parametrize("interlace", [False, True])
def test_truncated_at_every_border_of_chunks(interlace: bool) -> None:
    samples = png.random_samples(np.random.default_rng(1), 30, 30, png.PALETTE, 4)
    data = png.write_png(samples, png.PALETTE, 4, interlace=interlace, idat_sizes=(50, 0, 100))
    at = 8
    while at < len(data):
        for size in (at - 1, at, at + 1, at + 7, at + 8):
            with pytest.raises(DecodeError):
                decode(data[:size])
        at += 12 + struct.unpack_from(">I", data, at)[0]


def test_wrong_checksum_of_every_critical_chunk() -> None:
    palette = png.random_palette(np.random.default_rng(2), 16)
    samples = png.random_samples(np.random.default_rng(2), 30, 30, png.PALETTE, 4)
    data = png.write_png(samples, png.PALETTE, 4, palette=palette, idat_sizes=(50, 0, 100), after=png.chunk(b"teXt"))
    decode(data)
    at = 8
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        damaged = data[: end - 1] + bytes([data[end - 1] ^ 1]) + data[end:]
        if kind == b"teXt":
            np.testing.assert_array_equal(decode(damaged), decode(data))
        else:
            with pytest.raises(DecodeError, match=f"checksum of chunk {kind.decode()}"):
                decode(damaged)
            if kind != b"IHDR":
                np.testing.assert_array_equal(decode(damaged, strict=False), decode(data))
        at = end


def test_every_flipped_bit_is_an_error_or_changes_nothing() -> None:
    rng = np.random.default_rng(3)
    for _ in range(600):
        at, bit = int(rng.integers(0, len(SOUND))), int(rng.integers(0, 8))
        data = bytearray(SOUND)
        data[at] ^= 1 << bit
        with pytest.raises(DecodeError):
            decode(bytes(data))
        try:
            pixels = decode(bytes(data), strict=False)
        except DecodeError:
            continue
        assert pixels.shape == EXPECTED.shape


def test_damage_within_the_stream() -> None:
    """Checksums of the chunks right, deflate data wrong."""
    rng = np.random.default_rng(4)
    stream = zlib.compress(RAW)
    for _ in range(50):
        damaged = bytearray(stream)
        damaged[int(rng.integers(2, len(stream)))] ^= 1 << int(rng.integers(0, 8))
        data = png.assemble(HEADER, bytes(damaged))
        unzip = zlib.decompressobj()
        raw = b""
        try:  # byte by byte: zlib gives what stands before the damage
            for i in range(len(damaged)):
                raw += unzip.decompress(bytes(damaged[i : i + 1]))
        except zlib.error:
            pass
        if len(raw) <= len(RAW) and raw != RAW:  # more than the picture needs is no error, nor is a harmless flip
            with pytest.raises(DecodeError):
                decode(data)
        pixels = decode(data, strict=False)
        sound = min(len(raw) // 151, 40)
        bad_filter = [y for y in range(sound) if raw[y * 151] > 4]
        sound = bad_filter[0] if bad_filter else sound
        if sound:
            raw_sound = raw[: sound * 151] + bytes(len(RAW) - sound * 151)
            whole = png.assemble(HEADER, zlib.compress(raw_sound))
            np.testing.assert_array_equal(pixels[:sound], decode(whole)[:sound])
        assert not pixels[sound:].any()


def test_wrong_adler() -> None:
    stream = bytearray(zlib.compress(RAW))
    stream[-1] ^= 1
    data = png.assemble(HEADER, bytes(stream))
    with pytest.raises(DecodeError, match="image data"):
        decode(data)
    assert rows_shown(data) == 40
    short = png.assemble(HEADER, zlib.compress(RAW)[:-2])
    with pytest.raises(DecodeError, match="image data"):
        decode(short)
    assert rows_shown(short) == 40


def test_too_few_rows() -> None:
    for rows in (0, 1, 39):
        for extra in (0, 1, 150):
            data = png.assemble(HEADER, zlib.compress(RAW[: rows * 151 + extra]))
            with pytest.raises(DecodeError, match="image data"):
                decode(data)
            assert rows_shown(data) == rows


def test_unknown_row_filter() -> None:
    for row in (0, 17, 39):
        for value in (5, 255):
            raw = bytearray(RAW)
            raw[row * 151] = value
            data = png.assemble(HEADER, zlib.compress(bytes(raw)))
            with pytest.raises(DecodeError, match="row filter"):
                decode(data)
            assert rows_shown(data) == row
            if row:
                np.testing.assert_array_equal(decode(data, crop=(3, row - 1, 9, 1)), EXPECTED[row - 1 : row, 3:12])


@pytest.mark.parametrize(
    ("stream", "what"),
    [
        (b"", "no image data"),
        (b"\x78", "image data"),
        (b"\x78\x9c", "image data"),
        (b"\x00" * 50, "image data"),
        (b"\x78\xbb" + zlib.compress(RAW)[2:], "image data"),
        (b"\x79\x9c" + zlib.compress(RAW)[2:], "image data"),
    ],
)
def test_no_stream(stream: bytes, what: str) -> None:
    with pytest.raises(DecodeError, match=what):
        decode(png.assemble(HEADER, stream * 20 if stream == b"\x78" else stream))


def test_bad_headers() -> None:
    stream = zlib.compress(RAW)
    for depth in range(0, 20):
        for color in range(0, 9):
            if (color, depth) in png.FORMATS:
                continue
            with pytest.raises(DecodeError, match="colour type"):
                decode(png.assemble(png.ihdr(50, 40, depth, color), stream))
    for header in [
        png.ihdr(0, 40, 8, 2),
        png.ihdr(50, 0, 8, 2),
        png.ihdr(2**31, 1, 8, 2),
        png.ihdr(1, 2**32 - 1, 8, 2),
        png.ihdr(50, 40, 8, 2, 2),
        png.ihdr(50, 40, 8, 2, rest=(1, 0)),
        png.ihdr(50, 40, 8, 2, rest=(0, 1)),
        png.chunk(b"IHDR", bytes(12)),
        png.chunk(b"IHDR", bytes(14)),
        png.chunk(b"JHDR", bytes(13)),
    ]:
        data = png.assemble(header, stream)
        with pytest.raises(DecodeError, match="PNG"):
            decode(data)
        with pytest.raises(DecodeError, match="PNG"):
            inspect(data)


def test_chunks_out_of_place() -> None:
    stream = zlib.compress(RAW)
    idat, iend = png.chunk(b"IDAT", stream), png.chunk(b"IEND")
    start = png.SIGNATURE + HEADER
    for data, what in [
        (start + iend, "no image data"),
        (start + HEADER + idat + iend, "second header"),
        (start + png.chunk(b"ABCD") + idat + iend, "critical chunk ABCD"),
        (start + idat + png.chunk(b"ABCD") + iend, "critical chunk ABCD"),
        (start + idat + png.chunk(b"PLTE", bytes(3)) + iend, "palette"),
        (start + png.chunk(b"PLTE", bytes(3)) * 2 + idat + iend, "palette"),
        (
            start + png.chunk(b"IDAT", stream[:99]) + png.chunk(b"teXt") + png.chunk(b"IDAT", stream[99:]) + iend,
            "piece",
        ),
        (start + png.chunk(b"I\0AT") + idat + iend, "not a chunk"),
        (start + b"\xff\xff\xff\xffteXt" + idat + iend, "not a chunk"),
        (start + b"\x7f\xff\xff\xffteXt" + idat + iend, "truncated"),
        (start + idat, "IEND"),
        (start + idat + iend[:-1], "truncated"),
    ]:
        with pytest.raises(DecodeError, match=what):
            decode(data)


def test_palette_missing_or_impossible() -> None:
    samples = png.random_samples(np.random.default_rng(5), 30, 30, png.PALETTE, 4)
    for palette in [b"", bytes(2), bytes(4), bytes(771)]:
        data = png.write_png(samples, png.PALETTE, 4, palette=palette)
        for strict in (True, False):
            with pytest.raises(DecodeError, match="palette"):
                decode(data, strict=strict)
    data = png.write_png(samples, png.PALETTE, 4)
    at, end = data.index(b"PLTE") - 4, data.index(b"IDAT") - 4
    with pytest.raises(DecodeError, match="without a palette"):
        decode(data[:at] + data[end:])


def test_huge_claims_of_small_files_cost_nothing() -> None:
    stream = zlib.compress(bytes(1000))
    for width, height, depth, color in [
        (16384, 16384, 8, 2),
        (2**28, 1, 16, 6),
        (1, 2**28, 8, 2),
        (16000, 16000, 16, 6),
    ]:
        for interlace in (0, 1):
            data = png.assemble(png.ihdr(width, height, depth, color, interlace), stream)
            crop = (0, 0, 1, 1)
            with pytest.raises(DecodeError, match="too little image data"):
                decode(data, crop=crop)
            assert decode(data, crop=crop, strict=False).shape == (1, 1, 3)
    for width, height in [(2**31 - 1, 2**31 - 1), (16385, 16385)]:
        data = png.assemble(png.ihdr(width, height, 8, 2), stream)
        with pytest.raises(DecodeError, match=r"limit|2\^28"):
            decode(data, crop=crop)
    with pytest.raises(DecodeError, match="limit"):
        decode(SOUND, limits=Limits(max_pixels=1999))
    with pytest.raises(DecodeError, match="limit"):
        decode(SOUND, limits=Limits(max_bytes=len(SOUND) - 1))
    np.testing.assert_array_equal(decode(SOUND, limits=Limits(2000, len(SOUND))), EXPECTED)


def test_random_bytes_after_the_signature() -> None:
    rng = np.random.default_rng(6)
    for _ in range(300):
        for data in (
            png.SIGNATURE + rng.bytes(200),
            png.SIGNATURE + HEADER + rng.bytes(200),
            png.assemble(HEADER, b"\x78\x9c" + rng.bytes(300)),
        ):
            with pytest.raises(DecodeError):
                decode(data)
            try:
                decode(data, strict=False)
            except DecodeError:
                continue
