"""Crop-ready PNGs: the same image for everybody, and crops that cost what they show."""

from __future__ import annotations

import contextlib
import io
import random
import shutil
import struct
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import genimage_stream as gs
from genimage_stream.decode import _core
from genimage_stream.decode.crop_ready import recode, recode_proven
from tests.fixtures.png import FORMATS, PALETTE, RGB, RGBA, SIGNATURE, as_rgb, chunk, random_samples, write_png

STORED, LITERALS, DEFLATE = 0, 1, 2


@pytest.fixture(autouse=True)
def restore_simd_level() -> Iterator[None]:
    level = _core.simd_level()
    yield
    _core.set_simd_level(level)


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], len(SIGNATURE)
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
        if found[-1][0] == b"IEND":
            break
    return found


def coding(data: bytes) -> int:
    return dict(chunks(data))[b"gsBD"][1]


def made(data: bytes, **options: int) -> bytes:
    stored, why = recode(data, **options)
    assert stored is not None, why
    return stored


def photo(width: int, height: int, color: int = RGB, depth: int = 8, seed: int = 0) -> bytes:
    """A PNG that literals suit: smooth, with grain."""
    rng = np.random.default_rng(seed)
    samples = random_samples(rng, height, width, color, depth)
    y, x = np.mgrid[0:height, 0:width]
    top = (1 << depth) - 1
    for c in range(samples.shape[2]):
        wave = np.sin(x * 0.05 + c) + np.cos(y * 0.04) + rng.normal(0, 0.05, (height, width)) + 2
        samples[..., c] = np.clip(wave / 4 * top, 0, top)
    return write_png(samples, color, depth, filters=4)


SHAPES = [(70, 3), (200, 1), (65, 100), (97, 66), (150, 33), (300, 40)]


@pytest.mark.parametrize("level", [0, 1, 3, 4, 6, 9])
@pytest.mark.parametrize(("color", "depth"), FORMATS)
def test_pixels_of_every_format_level_and_shape(color: int, depth: int, level: int) -> None:
    chance = random.Random(100 * color + depth + level)
    rng = np.random.default_rng(color + depth)
    for width, height in SHAPES:
        samples = random_samples(rng, height, width, color, depth)
        original = write_png(samples, color, depth)
        band_rows, tile_width = chance.choice([1, 2, 7, 8, 32]), chance.choice([0, 0, 16, 25, 256])
        stored, why = recode(original, png_level=level, band_rows=band_rows, tile_width=tile_width)
        if stored is None:
            assert why == "much larger when crop-ready"
            continue
        full = as_rgb(samples, color, depth)
        assert np.array_equal(gs.decode(stored), full)
        with Image.open(io.BytesIO(stored)) as ours, Image.open(io.BytesIO(original)) as theirs:
            assert (ours.mode, ours.tobytes()) == (theirs.mode, theirs.tobytes())
        for _ in range(12):
            w, h = chance.randint(1, width), chance.randint(1, height)
            x, y = chance.randint(0, width - w), chance.randint(0, height - h)
            part = gs.decode(stored, crop=(x, y, w, h))
            assert np.array_equal(part, full[y : y + h, x : x + w]), (width, height, band_rows, tile_width, x, y, w, h)


@pytest.mark.parametrize("simd", [0, 2])
def test_literals_of_photographs(simd: int) -> None:
    _core.set_simd_level(simd)
    chance = random.Random(simd)
    for seed, (color, depth) in enumerate([(RGB, 8), (RGBA, 8), (0, 8), (4, 8), (RGB, 16)]):
        for width, height in [(128, 128), (300, 90), (500, 70), (800, 40)]:
            original = photo(width, height, color, depth, seed)
            stored = made(original)
            assert coding(stored) == LITERALS
            full = gs.decode(original)
            assert np.array_equal(gs.decode(stored), full)
            for _ in range(25):
                w, h = chance.randint(1, width), chance.randint(1, height)
                x, y = chance.choice([0, width - w, chance.randint(0, width - w)]), chance.randint(0, height - h)
                assert np.array_equal(gs.decode(stored, crop=(x, y, w, h)), full[y : y + h, x : x + w])


@pytest.mark.parametrize("level", [1, 2, 4, 6])
def test_every_processor_writes_the_same_bytes(level: int) -> None:
    formats = [(RGB, 8), (RGBA, 8), (0, 8), (4, 8), (RGB, 16), (PALETTE, 8), (0, 4)]
    for seed, (color, depth) in enumerate(formats):
        for width, height in [(65, 40), (149, 33), (320, 64), (801, 35)]:
            original = photo(width, height, color, depth, seed)
            written = []
            for simd in (0, 1, 2):
                _core.set_simd_level(simd)
                written.append(recode(original, png_level=level))
            assert written[0] == written[1] == written[2]


def test_crops_of_hundreds_of_images() -> None:
    chance = random.Random(12)
    kept = 0
    for seed in range(300):
        color, depth = chance.choice(FORMATS)
        width, height = chance.randint(65, 220), chance.randint(1, 70)
        original = photo(width, height, color, depth, seed)
        stored, _ = recode(original, png_level=chance.randint(0, 9), tile_width=chance.choice([0, 20, 64]))
        if stored is None:
            kept += 1
            continue
        full = gs.decode(original)
        assert np.array_equal(gs.decode(stored), full)
        with Image.open(io.BytesIO(stored)) as ours, Image.open(io.BytesIO(original)) as theirs:
            assert (ours.mode, ours.tobytes()) == (theirs.mode, theirs.tobytes())
        for _ in range(3):
            w, h = chance.randint(1, width), chance.randint(1, height)
            x, y = chance.randint(0, width - w), chance.randint(0, height - h)
            assert np.array_equal(gs.decode(stored, crop=(x, y, w, h)), full[y : y + h, x : x + w])
    assert kept < 30


def test_hundreds_of_sizes() -> None:
    chance = random.Random(3)
    for seed in range(60):
        width, height = chance.randint(65, 330), chance.randint(1, 80)
        original = photo(width, height, chance.choice([0, RGB, RGBA]), 8, seed)
        stored = made(original, tile_width=chance.choice([0, 20, 33, 64]), band_rows=chance.choice([5, 16, 32]))
        full = gs.decode(original)
        for _ in range(6):
            w, h = chance.randint(1, width), chance.randint(1, height)
            x, y = chance.randint(0, width - w), chance.randint(0, height - h)
            assert np.array_equal(gs.decode(stored, crop=(x, y, w, h)), full[y : y + h, x : x + w])


@pytest.mark.parametrize("level", [0, 4, 6])
def test_bands_stand_alone(level: int) -> None:
    original = photo(100, 90)
    stored = made(original, png_level=level)
    parts = [data for kind, data in chunks(stored) if kind == b"IDAT"]
    assert len(parts) == 3
    table = dict(chunks(stored))[b"gsBD"]
    rows = zlib.decompress(b"".join(parts))  # the Adler-32 is right, too
    bands = [parts[0][2:], parts[1], parts[2][:-4]]
    for i, band in enumerate(bands):
        alone = zlib.decompressobj(-15).decompress(band)
        assert alone == rows[i * 32 * 301 : (i + 1) * 32 * 301]
        assert alone[0] in (0, 1)  # the first row looks at none above it
        assert struct.unpack_from(">II", table, 12 + 8 * i) == (len(parts[i]), zlib.crc32(b"IDAT" + parts[i]))


def test_levels_order_sizes() -> None:
    original = photo(300, 300)
    sizes = [len(made(original, png_level=level)) for level in (0, 1, 4)]
    assert sizes[0] > sizes[1] > sizes[2]
    assert sizes[0] < 300 * 301 * 3 * 1.01
    assert coding(made(original, png_level=0)) == STORED
    assert len(made(original, png_level=9)) <= sizes[2]  # the smaller of both codings


def test_flat_images_are_coded_with_matches() -> None:
    samples = np.zeros((200, 200, 3), np.uint16)
    samples[50:150, 60:90] = 200
    samples[:, :, 1] += np.random.default_rng(0).integers(0, 5, (200, 200), dtype=np.uint16) // 4
    stored = made(write_png(samples, RGB, 8))
    assert coding(stored) == DEFLATE
    assert np.array_equal(gs.decode(stored, crop=(40, 40, 60, 60)), as_rgb(samples, RGB, 8)[40:100, 40:100])


@pytest.mark.parametrize("color", [0, RGB])
def test_flat_images_are_not_stored(color: int) -> None:
    samples = np.zeros((300, 300, 1 if color == 0 else 3), np.uint16)
    samples[100:200, 100:200] = 77
    original = write_png(samples, color, 8)
    stored, why = recode(original, png_level=0)
    assert (stored, why) == recode(original)
    assert stored is None or len(stored) < 4 * len(original)


def test_rows_that_no_stored_block_can_hold() -> None:
    original = photo(22000, 3)
    assert recode(original, png_level=0) == recode(original)


def proven(original: bytes, file: bytes) -> bool:
    return _core.holds_the_same(original, file, *gs.Limits().as_core)


@pytest.mark.parametrize("level", [0, 4, 6])
@pytest.mark.parametrize(("color", "depth"), FORMATS)
def test_the_proof_looks_at_all_channels_and_bits(color: int, depth: int, level: int) -> None:
    """RGB alone would not tell another alpha, nor other low bytes of 16 bits."""
    samples = random_samples(np.random.default_rng(1), 70, 90, color, depth)
    original = write_png(samples, color, depth)
    stored, why = recode(original, png_level=level)
    assert stored is not None, why
    assert proven(original, stored)
    assert proven(original, write_png(samples, color, depth, filters=0))
    for channel in range(samples.shape[2]):
        other = samples.copy()
        other[69, 89, channel] ^= 1
        assert not proven(original, write_png(other, color, depth)), channel
        assert not proven(original, made(write_png(other, color, depth), png_level=level)), channel


def test_chunks_and_trailing_bytes_are_kept() -> None:
    samples = random_samples(np.random.default_rng(0), 80, 90, PALETTE, 8)
    before = chunk(b"gAMA", b"\x00\x00\xb1\x8f") + chunk(b"tRNS", b"\x00\x80") + chunk(b"tEXt", b"a\x00b")
    before += chunk(b"iDOT", bytes(28)) + chunk(b"prVt", b"kept: safe to copy")
    after = chunk(b"tIME", b"\x07\xe8\x01\x01\x00\x00\x00") + chunk(b"zzZz", b"kept too")
    original = write_png(samples, PALETTE, 8, before=before, after=after, trailing=b"tail", idat_sizes=[100, 0, 5])
    stored = made(original)
    kept = [c for c in chunks(stored) if c[0] not in (b"IDAT", b"gsBD")]
    assert kept == [c for c in chunks(original) if c[0] not in (b"IDAT", b"iDOT")]
    assert stored.endswith(b"tail")
    assert np.array_equal(gs.decode(stored), gs.decode(original))


def test_files_that_stay_as_they_are() -> None:
    rng = np.random.default_rng(0)
    samples = random_samples(rng, 70, 80, RGB, 8)
    stored = made(photo(100, 100))
    assert recode(stored) == (None, "already crop-ready")
    assert gs.make_crop_ready(stored) is None
    assert recode(write_png(samples, RGB, 8, interlace=True)) == (None, "interlaced")
    assert recode(write_png(samples[:60, :60], RGB, 8)) == (None, "tiny")
    assert recode(write_png(samples, RGB, 8, before=chunk(b"acTL", bytes(8)))) == (None, "animated")
    signed = recode(write_png(samples, RGB, 8, before=chunk(b"caBX", b"signs the file's bytes")))[1]
    assert signed == "chunks of unknown meaning that depend on the image data"
    for level in (-1, 10):
        with pytest.raises(ValueError, match="png_level"):
            gs.make_crop_ready(stored, png_level=level)


def test_a_table_of_another_image_is_replaced() -> None:
    a, b = made(photo(100, 100, seed=1)), photo(100, 100, seed=2)
    table = chunk(b"gsBD", dict(chunks(a))[b"gsBD"])
    alien = b[:33] + table + b[33:]  # what an editor leaves that copies chunks it must not copy
    full = gs.decode(b)
    assert np.array_equal(gs.decode(alien, crop=(10, 40, 50, 50)), full[40:90, 10:60])
    assert np.array_equal(gs.decode(alien), full)
    again = made(alien)  # the headers are equal, but the bands are not there
    assert again == made(b)
    assert np.array_equal(gs.decode(again), full)
    short = b[:33] + chunk(b"gsBD", b"\x01") + b[33:]
    assert [kind for kind, _ in chunks(made(short))].count(b"gsBD") == 1


def test_editors_know_from_its_name_that_the_table_goes_with_the_image() -> None:
    # PNG, 5.4: ancillary, private, reserved bit clear, unsafe to copy.
    (name,) = (kind for kind, _ in chunks(made(photo(100, 100))) if kind[:1] == b"g")
    assert [bool(letter & 0x20) for letter in name] == [True, True, False, False]


def test_damaged_originals_are_refused() -> None:
    original = photo(100, 100)
    for size in (0, 5, 20, len(original) // 2, len(original) - 13):
        with pytest.raises(gs.DecodeError):
            gs.make_crop_ready(original[:size])
    damaged = bytearray(original)
    damaged[len(original) // 2] ^= 4
    with pytest.raises(gs.DecodeError):
        gs.make_crop_ready(damaged)


def right_or_refused(data: bytes, full: np.ndarray, crop: tuple[int, int, int, int]) -> bool:
    """True when the crop is decoded; then it has the right pixels."""
    x, y, w, h = crop
    try:
        part = gs.decode(data, crop=crop)
    except gs.DecodeError:
        return False
    assert np.array_equal(part, full[y : y + h, x : x + w])
    return True


@pytest.mark.parametrize("level", [0, 4, 6])
def test_every_damaged_byte_is_found_or_does_not_matter(level: int) -> None:
    original = photo(70, 70)
    stored = made(original, png_level=level, band_rows=16, tile_width=20)
    full = gs.decode(original)
    chance = random.Random(level)
    decoded = 0
    at = range(8, len(stored)) if level else chance.sample(range(8, len(stored)), 3000)
    for i in at:
        damaged = bytearray(stored)
        damaged[i] ^= 1 << chance.randrange(8)
        decoded += right_or_refused(bytes(damaged), full, (30, 20, 33, 20))
    assert decoded > 0  # damage elsewhere in the file does not keep the crop from being read
    for size in range(len(stored)):
        assert not right_or_refused(stored[:size], full, (30, 20, 33, 20)) or size > len(stored) - 12


def test_a_damaged_table_with_a_right_checksum_is_found() -> None:
    stored = made(photo(70, 70), band_rows=16, tile_width=20)
    full = gs.decode(stored)
    table = dict(chunks(stored))[b"gsBD"]
    begin = stored.index(b"gsBD") - 4
    for i in range(len(table)):
        for flip in (1, 0x80):
            changed = bytearray(table)
            changed[i] ^= flip
            data = stored[:begin] + chunk(b"gsBD", bytes(changed)) + stored[begin + 12 + len(table) :]
            assert right_or_refused(data, full, (30, 20, 33, 20))  # by way of a full decode


def sealed(ihdr: bytes, table: bytes) -> bytes:
    """A table with its own check made right: what only a forger would do."""
    return chunk(b"gsBD", table[:-4] + struct.pack(">I", zlib.crc32(ihdr + table[:-4])))


def test_forged_tables_do_no_harm() -> None:
    chance = random.Random(0)
    for level in (0, 4, 6):
        stored = made(photo(70, 70), png_level=level, band_rows=16, tile_width=20)
        table = dict(chunks(stored))[b"gsBD"]
        begin = stored.index(b"gsBD") - 4
        for _ in range(1500):
            changed = bytearray(table)
            for _ in range(chance.randint(1, 4)):
                changed[chance.randrange(len(changed) - 4)] = chance.choice([0, 1, 255, chance.randrange(256)])
            data = stored[:begin] + sealed(stored[16:29], bytes(changed)) + stored[begin + 12 + len(table) :]
            with contextlib.suppress(gs.DecodeError):
                gs.decode(data, crop=(30, 20, 33, 20))


def test_forged_bands_do_no_harm() -> None:
    """All checksums right, the data wrong: an error, or some pixels, and no touch of other memory."""
    chance = random.Random(1)
    for level in (0, 4, 6):
        stored = made(photo(70, 70), png_level=level, band_rows=16, tile_width=20)
        parts = chunks(stored)
        for _ in range(800):
            forged = [(kind, bytearray(data)) for kind, data in parts]
            _kind, data = chance.choice([p for p in forged if p[0] == b"IDAT"])
            for _ in range(chance.randint(1, 3)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            table = forged[1][1]
            for i, (_, idat) in enumerate(p for p in forged if p[0] == b"IDAT"):
                table[12 + 8 * i : 20 + 8 * i] = struct.pack(">II", len(idat), zlib.crc32(b"IDAT" + idat))
            whole = SIGNATURE + b"".join(
                sealed(stored[16:29], bytes(d)) if k == b"gsBD" else chunk(k, bytes(d)) for k, d in forged
            )
            with contextlib.suppress(gs.DecodeError):
                gs.decode(whole, crop=(30, 20, 33, 20))


@pytest.mark.parametrize("level", [0, 4, 6, 9])
def test_other_readers_see_the_same_image(level: int, tmp_path: Path) -> None:
    for color in (RGB, RGBA, 0):
        original = photo(200, 150, color)
        stored = made(original, png_level=level)
        ours, theirs = (cv2.imdecode(np.frombuffer(d, np.uint8), cv2.IMREAD_UNCHANGED) for d in (stored, original))
        assert np.array_equal(ours, theirs)
        path = tmp_path / f"{color}.png"
        path.write_bytes(stored)
        if shutil.which("pngcheck"):
            said = subprocess.run(["pngcheck", "-v", path], capture_output=True, text=True, check=False)
            assert said.returncode == 0, said.stdout
            assert "No errors detected" in said.stdout
            told = said.stdout.partition("chunk gsBD")[2].splitlines()[1]
            assert "ancillary, unsafe-to-copy" in told, said.stdout


def test_an_image_recoded_while_another_one_is_used() -> None:
    """Found by review: both had one memory, and the outer call gave the inner one's file."""
    first, second = (
        write_png(random_samples(np.random.default_rng(n), 280 + n, 300, RGB, 8), RGB, 8, filters=4) for n in (0, 20)
    )
    inner: list[tuple[bytes | None, str | None]] = []
    seen: list[bool] = []

    def use(view: object) -> None:
        pixels = np.asarray(view)
        inner.append(recode_proven(second, lambda _: None)[:2])
        seen.append(bool((pixels == gs.decode(first)).all()))

    for _ in range(2):
        stored, why, *_ = recode_proven(first, use)
        assert stored is not None, why
        assert stored == recode(first)[0]
        np.testing.assert_array_equal(gs.decode(stored), gs.decode(first))
    assert seen == [True, True]
    assert inner == [recode(second)] * 2
