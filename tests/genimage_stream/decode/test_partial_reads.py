"""Crops of crop-ready PNGs out of files: only what a crop needs is read, and the pixels are those of whole reads."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import numpy as np
import pytest

import genimage_stream as gs
from genimage_stream.decode.crop_ready import recode
from tests.fixtures.png import PALETTE, RGB, RGBA, SIGNATURE, as_rgb, chunk, random_samples, write_png

WINDOW = 100
LEAD = b"x" * 37  # an image seldom begins a file


def photo(width: int, height: int, color: int = RGB, depth: int = 8, seed: int = 0) -> tuple[bytes, np.ndarray]:
    rng = np.random.default_rng(seed)
    samples = random_samples(rng, height, width, color, depth)
    if color != PALETTE:
        y, x = np.mgrid[0:height, 0:width]
        top = (1 << depth) - 1
        for c in range(samples.shape[2]):
            wave = np.sin(x * 0.05 + c) + np.cos(y * 0.04) + rng.normal(0, 0.05, (height, width)) + 2
            samples[..., c] = np.clip(wave / 4 * top, 0, top)
    return write_png(samples, color, depth, filters=4), as_rgb(samples, color, depth)


def made(data: bytes, tile_width: int = 256) -> bytes:
    stored, why = recode(data, tile_width=tile_width)
    assert stored is not None, why
    return stored


def offsets(data: bytes) -> list[tuple[bytes, int]]:
    """Type and place of every chunk."""
    found, at = [], len(SIGNATURE)
    while at < len(data):
        found.append((data[at + 4 : at + 8], at))
        at += 12 + struct.unpack_from(">I", data, at)[0]
    return found


def read(
    path: Path, data: bytes, corners: list[tuple[int, int]], *, claimed: int | None = None
) -> tuple[np.ndarray, list[gs.ImageError], int]:
    """The windows at `corners` of one image in a file: (n, 3, WINDOW, WINDOW), errors, bytes read."""
    path.write_bytes(LEAD + data)
    n = len(corners)
    size = len(data) if claimed is None else claimed
    ranges = gs.FileRanges(gs.FileSet([path]), np.zeros(n, np.int32), np.full(n, len(LEAD)), np.full(n, size))
    out = np.full((n, 3, WINDOW, WINDOW), 7, np.uint8)
    with gs.BatchDecoder(2) as decoder:
        job = decoder.submit(ranges, out, crops=np.array(corners, np.int32))
        assert job.wait()
        return out, job.errors(), job.stats().bytes_read


def in_memory(data: bytes, corners: list[tuple[int, int]]) -> tuple[np.ndarray, list[tuple[int, str]]]:
    out = np.full((len(corners), 3, WINDOW, WINDOW), 7, np.uint8)
    errors = gs.decode_batch([data] * len(corners), out, crops=np.array(corners, np.int32), threads=2)
    return out, [(error.index, error.kind) for error in errors]


def window(pixels: np.ndarray, corner: tuple[int, int]) -> np.ndarray:
    x, y = corner
    part: np.ndarray = pixels[y : y + WINDOW, x : x + WINDOW].transpose(2, 0, 1)
    return part


@pytest.mark.parametrize("level", [0, 4, 6])
@pytest.mark.parametrize(("color", "depth"), [(RGB, 8), (RGBA, 8), (0, 8), (4, 8), (RGB, 16), (PALETTE, 8)])
def test_pixels_are_those_of_the_whole_file(tmp_path: Path, color: int, depth: int, level: int) -> None:
    chance = random.Random(level)
    width, height = (500, 1100) if color in (0, 4, PALETTE) else (430, 700)
    original, pixels = photo(width, height, color, depth, seed=level)
    stored, why = recode(original, png_level=level, tile_width=chance.choice([0, 100, 256]))
    if stored is None:
        assert why == "much larger when crop-ready"
        return
    corners = [(0, 0), (width - WINDOW, height - WINDOW), (width - WINDOW, 0), (3, 32), (5, 31)]
    corners += [(chance.randint(0, width - WINDOW), chance.randint(0, height - WINDOW)) for _ in range(25)]
    found, errors, bytes_read = read(tmp_path / "a.bin", stored, corners)
    assert errors == []
    assert np.array_equal(found, np.stack([window(pixels, corner) for corner in corners]))
    if len(stored) > 192 << 10:
        assert bytes_read < len(corners) * len(stored) * 0.6


def test_what_a_thread_read_before_does_not_shine_through(tmp_path: Path) -> None:
    chance = random.Random(9)
    photos = [photo(430, 700, seed=seed) for seed in (0, 1)]
    stored = [made(data) for data, _ in photos]
    (tmp_path / "a.bin").write_bytes(b"".join(stored))
    n = 60
    corners = [(chance.randint(0, 330), chance.randint(0, 600)) for _ in range(n)]
    turn = np.arange(n) % 2
    size = np.array([len(data) for data in stored])[turn]
    ranges = gs.FileRanges(gs.FileSet([tmp_path / "a.bin"]), np.zeros(n, np.int32), turn * len(stored[0]), size)
    out = np.zeros((n, 3, WINDOW, WINDOW), np.uint8)
    with gs.BatchDecoder(1) as decoder:
        for _ in range(2):  # larger images come first: the second time both take turns after all of both
            assert decoder.decode_batch(ranges, out, crops=np.array(corners, np.int32)) == []
            for i, corner in enumerate(corners):
                assert np.array_equal(out[i], window(photos[turn[i]][1], corner))


def test_what_gains_nothing_is_read_whole(tmp_path: Path) -> None:
    big, pixels = photo(430, 700)
    small, _ = photo(150, 110)
    wide, _ = photo(2000, 128, seed=2)  # four bands, all of which a window of 100 rows may touch
    for data in (big, made(small), made(wide)):
        _, errors, bytes_read = read(tmp_path / "a.bin", data, [(1, 5)])
        assert (errors, bytes_read) == ([], len(data))
    assert np.array_equal(read(tmp_path / "a.bin", big, [(1, 5)])[0][0], window(pixels, (1, 5)))


def test_a_table_that_is_longer_than_the_first_read(tmp_path: Path) -> None:
    original, pixels = photo(600, 800)
    stored = made(original, tile_width=16)
    table = next(at for kind, at in offsets(stored) if kind == b"gsBD")
    assert struct.unpack_from(">I", stored, table)[0] > 40_000
    comment = chunk(b"tEXt", b"k\0" + b"v" * 50_000)
    stored = stored[:33] + comment + stored[33:]
    found, errors, bytes_read = read(tmp_path / "a.bin", stored, [(450, 600)])
    assert errors == []
    assert bytes_read < 0.6 * len(stored)
    assert np.array_equal(found[0], window(pixels, (450, 600)))


def test_damage_is_found_or_does_not_matter(tmp_path: Path) -> None:
    """Every byte that a crop looks at: the pixels are right, or the error is that of a whole read."""
    chance = random.Random(5)
    original, pixels = photo(430, 700)
    stored = made(original)
    places = [at + chance.randint(0, 11) for _, at in offsets(stored)]
    places += [chance.randrange(len(stored)) for _ in range(60)] + [chance.randrange(6000) for _ in range(60)]
    corners = [(10, 0), (200, 300), (330, 600)]
    for place in places:
        damaged = bytearray(stored)
        damaged[place] ^= 1 << chance.randint(0, 7)
        found, errors, _ = read(tmp_path / "a.bin", bytes(damaged), corners)
        whole, whole_errors = in_memory(bytes(damaged), corners)
        failed = {error.index for error in errors}
        assert {(error.index, error.kind) for error in errors} <= set(whole_errors)
        for i, corner in enumerate(corners):
            if i not in failed:
                assert np.array_equal(found[i], window(pixels, corner)), place
            else:
                assert np.array_equal(found[i], whole[i])


def test_a_table_of_another_image(tmp_path: Path) -> None:
    ours, theirs = (made(photo(430, 700, seed=seed)[0]) for seed in (0, 1))
    pixels = gs.decode(ours)
    parts = [next(at for kind, at in offsets(data) if kind == b"gsBD") for data in (ours, theirs)]
    ends = [at + 12 + struct.unpack_from(">I", data, at)[0] for data, at in zip((ours, theirs), parts, strict=True)]
    mixed = ours[: parts[0]] + theirs[parts[1] : ends[1]] + ours[ends[0] :]
    found, errors, bytes_read = read(tmp_path / "a.bin", mixed, [(30, 400)])
    assert errors == []
    assert bytes_read >= len(mixed)
    assert np.array_equal(found[0], window(pixels, (30, 400)))


def test_a_truncated_file(tmp_path: Path) -> None:
    original, pixels = photo(430, 700)
    stored = made(original)
    corners = [(10, 0), (200, 300), (330, 600)]
    for part in (0, 1000, 40_000, len(stored) // 2, len(stored) - 40):
        found, errors, _ = read(tmp_path / "a.bin", stored[:part], corners, claimed=len(stored))
        assert all(error.kind == "io" and "shorter than its index says" in error.message for error in errors)
        assert 2 in {error.index for error in errors}
        for i in {0, 1, 2} - {error.index for error in errors}:
            assert np.array_equal(found[i], window(pixels, corners[i]))
        _, errors, _ = read(tmp_path / "a.bin", stored[:part], corners)  # the index knows no better
        assert len(errors) == 3
        assert {error.kind for error in errors} == {"decode"}
