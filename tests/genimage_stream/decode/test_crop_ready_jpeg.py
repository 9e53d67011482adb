"""Crop-ready JPEGs: the same pixels for everybody, and cuts that decode to the very pixels of the crop."""

from __future__ import annotations

import io
import random
import shutil
import subprocess

import cv2
import numpy as np
import pytest
from PIL import Image

import genimage_stream as gs
from genimage_stream.decode import _core
from genimage_stream.decode.crop_ready import recode
from tests.fixtures.jpegs import SAMPLINGS, jpeg, jpeg_of_mode, photograph, pillow_rgb


def crop_ready(data: bytes) -> bytes:
    made = gs.make_crop_ready(data)
    if made is None:
        assert why_not(data) == "already crop-ready"
        return data
    return made


def why_not(data: bytes) -> str | None:
    return recode(data)[1]


def segments(data: bytes) -> list[tuple[int, bytes]]:
    """(marker, parameters) of every segment before the first scan, and the frame's marker among them."""
    found, at = [], 2
    while data[at + 1] != 0xDA:
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        found.append((data[at + 1], data[at + 4 : at + 2 + size]))
        at += 2 + size
    return found


VARIANTS = {
    **{f"baseline {s}": lambda w, h, seed, s=s: jpeg(w, h, seed=seed, sampling=s) for s in SAMPLINGS},
    **{
        f"progressive {s}": lambda w, h, seed, s=s: jpeg(w, h, seed=seed, sampling=s, progressive=True)
        for s in SAMPLINGS
    },
    "gray": lambda w, h, seed: jpeg_of_mode("L", w, h, seed=seed, quality=92),
    "gray progressive": lambda w, h, seed: jpeg_of_mode("L", w, h, seed=seed, progressive=True),
    "cmyk": lambda w, h, seed: jpeg_of_mode("CMYK", w, h, seed=seed, quality=92),
    "rgb": lambda w, h, seed: jpeg_of_mode("RGB", w, h, seed=seed, keep_rgb=True),
    "optimised": lambda w, h, seed: jpeg_of_mode("RGB", w, h, seed=seed, optimize=True),
    "low quality": lambda w, h, seed: jpeg(w, h, seed=seed, quality=7),
    "16-bit tables": lambda w, h, seed: jpeg_of_mode("RGB", w, h, seed=seed, qtables=[[300] * 64, [400] * 64]),
    "old restarts": lambda w, h, seed: jpeg(w, h, seed=seed, restart_interval=3),
}
SIZES = [
    (1, 1),
    (2, 3),
    (4, 4),
    (5, 16),
    (17, 5),
    (16, 16),
    (18, 33),
    (31, 47),
    (64, 64),
    (130, 97),
    (376, 40),
    (250, 188),
]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_crop_of_every_variant_has_the_pixels_of_the_original(variant: str) -> None:
    chance = random.Random(variant)
    for seed, (width, height) in enumerate(SIZES):
        original = VARIANTS[variant](width, height, seed)
        stored = crop_ready(original)
        full = gs.decode(original)
        assert np.array_equal(gs.decode(stored), full)
        assert np.array_equal(pillow_rgb(stored), pillow_rgb(original))
        for _ in range(40):
            w, h = chance.randint(1, min(width, 100)), chance.randint(1, min(height, 100))
            x, y = chance.choice([0, width - w, chance.randint(0, width - w)]), chance.randint(0, height - h)
            cut, inner = gs.crop_jpeg(stored, (x, y, w, h))
            assert inner[2:] == (w, h)
            part = full[y : y + h, x : x + w]
            assert np.array_equal(gs.decode(cut, crop=inner), part), (width, height, x, y, w, h)
            assert np.array_equal(gs.decode(cut)[inner[1] : inner[1] + h, inner[0] : inner[0] + w], part)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_own_encoder_writes_what_libjpeg_writes(variant: str) -> None:
    try:
        for seed, (width, height) in enumerate(SIZES):
            original = VARIANTS[variant](width, height, seed)
            written = []
            for path in ("libjpeg", "own", "plain"):
                _core.set_jpeg_path(path)
                written.append(recode(original))
            assert written[0] == written[1] == written[2], (width, height)
    finally:
        _core.set_jpeg_path("auto")


def test_crops_of_hundreds_of_images() -> None:
    chance = random.Random(11)
    for seed in range(300):
        width, height = chance.randint(1, 140), chance.randint(1, 90)
        original = VARIANTS[chance.choice(sorted(VARIANTS))](width, height, seed)
        full, stored = pillow_rgb(original), crop_ready(original)
        assert np.array_equal(gs.decode(stored), full)
        for _ in range(3):
            w, h = chance.randint(1, width), chance.randint(1, height)
            x, y = chance.randint(0, width - w), chance.randint(0, height - h)
            want = full[y : y + h, x : x + w]
            assert np.array_equal(gs.decode(stored, crop=(x, y, w, h)), want), (seed, width, height, x, y, w, h)
            cut, (cx, cy, cw, ch) = gs.crop_jpeg(stored, (x, y, w, h))
            assert np.array_equal(pillow_rgb(cut)[cy : cy + ch, cx : cx + cw], want), (seed, x, y, w, h)


def test_hundreds_of_sizes() -> None:
    chance = random.Random(5)
    for seed in range(150):
        width, height = chance.randint(1, 200), chance.randint(1, 90)
        original = jpeg(width, height, seed=seed, sampling=chance.choice(list(SAMPLINGS)), progressive=seed % 3 == 0)
        stored, full = crop_ready(original), gs.decode(original)
        for _ in range(4):
            w, h = chance.randint(1, width), chance.randint(1, height)
            x, y = chance.randint(0, width - w), chance.randint(0, height - h)
            cut, inner = gs.crop_jpeg(stored, (x, y, w, h))
            assert np.array_equal(gs.decode(cut, crop=inner), full[y : y + h, x : x + w])


def test_a_cut_is_small_and_ordinary() -> None:
    stored = crop_ready(jpeg(640, 480))
    cut, (x, y, w, h) = gs.crop_jpeg(stored, (300, 200, 64, 64))
    assert len(cut) < len(stored) / 8
    with Image.open(io.BytesIO(cut)) as image:
        assert image.size == (128, 80)
    theirs = cv2.imdecode(np.frombuffer(cut, np.uint8), cv2.IMREAD_COLOR_RGB)[y : y + h, x : x + w]
    whole = cv2.imdecode(np.frombuffer(stored, np.uint8), cv2.IMREAD_COLOR_RGB)[200:264, 300:364]
    assert np.array_equal(theirs, whole)


def test_restart_intervals_divide_the_rows() -> None:
    cases = [(500, "420", 4), (500, "444", 9), (375, "420", 4), (376, "444", 47), (512, "444", 8)]
    for width, sampling, expected in cases:
        found = dict(segments(crop_ready(jpeg(width, 40, sampling=sampling))))
        assert int.from_bytes(found[0xDD], "big") == expected, (width, sampling)


def test_metadata_tables_and_what_follows_the_image_are_kept() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a picture"
    buffer = io.BytesIO()
    Image.fromarray(photograph(120, 90)).save(
        buffer,
        "JPEG",
        quality=83,
        progressive=True,
        dpi=(123, 45),
        exif=exif,
        icc_profile=bytes(70000),
        comment=b"hello",
    )
    original = buffer.getvalue() + b"trailing bytes"
    stored = crop_ready(original)
    kept = [(0xC0 if m == 0xC2 else m, p) for m, p in segments(original) if m not in (0xC4, 0xDD)]
    assert [s for s in segments(stored) if s[0] not in (0xC4, 0xDD)] == kept
    assert stored.endswith(b"\xff\xd9trailing bytes")
    assert np.array_equal(pillow_rgb(stored), pillow_rgb(original))
    cut, _ = gs.crop_jpeg(stored, (10, 10, 20, 20))
    assert b"Exif" not in cut
    assert len(cut) < 5000


def test_a_cut_of_the_whole_is_the_file_itself() -> None:
    stored = crop_ready(jpeg(64, 48))
    assert gs.crop_jpeg(stored, (0, 0, 64, 48)) == (stored, (0, 0, 64, 48))


def test_files_that_cannot_be_cut_come_back_whole() -> None:
    for data in (jpeg(200, 100), jpeg(200, 100, progressive=True), jpeg(200, 100, restart_interval=5)):
        assert gs.crop_jpeg(memoryview(data), (3, 4, 50, 60)) == (data, (3, 4, 50, 60))


def test_files_that_stay_as_they_are() -> None:
    stored = crop_ready(jpeg(200, 100))
    assert why_not(stored) == "already crop-ready"
    assert gs.make_crop_ready(stored) is None
    plain = jpeg(40, 40)
    mpf = plain[:2] + b"\xff\xe2\x00\x08MPF\x00xx" + plain[2:]
    assert "positions" in str(why_not(mpf))
    arithmetic = plain.replace(b"\xff\xc0", b"\xff\xc9", 1)
    assert "arithmetic" in str(why_not(arithmetic))
    with pytest.raises(gs.DecodeError):
        gs.make_crop_ready(b"")


@pytest.mark.parametrize("path", ["own", "libjpeg"])
def test_every_width_of_intervals(path: str) -> None:
    original = jpeg(500, 100)
    full, lengths = gs.decode(original), {}
    try:
        _core.set_jpeg_path(path)
        for width, mcus in {0: None, 32: 2, 64: 4, 128: 8, 65535: 32}.items():
            stored = recode(original, interval_width=width)[0]
            assert stored is not None
            found = dict(segments(stored)).get(0xDD)
            assert (None if found is None else int.from_bytes(found, "big")) == mcus
            assert np.array_equal(gs.decode(stored), full)
            assert np.array_equal(gs.decode(stored, crop=(90, 20, 60, 60)), full[20:80, 90:150])
            lengths[width] = len(stored)
    finally:
        _core.set_jpeg_path("auto")
    assert lengths[32] > lengths[64] > lengths[128] > lengths[65535] > lengths[0]
    with pytest.raises(ValueError, match="interval_width"):
        recode(original, interval_width=-1)


def test_a_progression_that_stops_early_stays_as_it_is() -> None:
    # Decoders smooth the blocks of such images, which no baseline file can ask for.
    data = jpeg(200, 100, progressive=True)
    scans = [i for i in range(len(data) - 1) if data[i : i + 2] == b"\xff\xda"]
    early = data[: scans[3]] + b"\xff\xd9"
    assert "progression" in str(why_not(early))


@pytest.mark.parametrize("make", [jpeg(200, 100), jpeg(200, 100, progressive=True)], ids=["baseline", "progressive"])
def test_damaged_originals_are_refused(make: bytes) -> None:
    chance = random.Random(1)
    for size in (3, 20, len(make) // 3, len(make) - 2):
        with pytest.raises(gs.DecodeError):
            gs.make_crop_ready(make[:size])
    for _ in range(300):
        data = bytearray(make)
        for _ in range(chance.randint(1, 3)):
            data[chance.randrange(2, len(data))] = chance.randrange(256)
        try:
            made = gs.make_crop_ready(bytes(data))
        except gs.DecodeError:
            continue
        if made is not None:  # undetectable damage: then it shows the same in both
            assert np.array_equal(gs.decode(made, strict=False), gs.decode(bytes(data), strict=False))


def test_damaged_restart_markers_are_found() -> None:
    stored = bytearray(crop_ready(jpeg(400, 100)))
    begin = stored.index(b"\xff\xda")
    at = [i for i in range(begin, len(stored) - 1) if stored[i] == 0xFF and 0xD0 <= stored[i + 1] <= 0xD7]
    assert len(at) > 30
    for i in at:
        for change in (0xD0 + (stored[i + 1] - 0xD0 + 1) % 8, 0x00, 0xC4, 0xD9):
            damaged = stored.copy()
            damaged[i + 1] = change
            with pytest.raises(gs.DecodeError, match="restart interval"):
                gs.crop_jpeg(damaged, (8, 8, 20, 20))
        damaged = stored.copy()
        damaged[i] ^= 1
        with pytest.raises(gs.DecodeError, match="restart interval"):
            gs.crop_jpeg(damaged, (8, 8, 20, 20))
    for size in range(len(stored) - 1, 0, -97):
        with pytest.raises(gs.DecodeError):
            gs.crop_jpeg(stored[:size], (8, 8, 20, 20))


@pytest.mark.parametrize("path", ["auto", "own", "plain", "libjpeg"])
@pytest.mark.parametrize("lost", [1, 8, 16])
@pytest.mark.parametrize("interval", [0, 3], ids=["crop-ready", "intervals across rows"])
def test_lost_and_doubled_restart_intervals_are_found(path: str, lost: int, interval: int) -> None:
    """Of eight the markers' numbers do not tell: they go on in turn, and what follows is in a wrong place."""
    original = jpeg(400, 240)
    stored = jpeg(400, 240, restart_interval=interval) if interval else crop_ready(original)
    begin = stored.index(b"\xff\xda")
    at = [i for i in range(begin, len(stored) - 1) if stored[i] == 0xFF and 0xD0 <= stored[i + 1] <= 0xD7]
    x, y, side = 100, 60, 96
    try:
        _core.set_jpeg_path(path)
        for first in (0, 3, 20, len(at) - 1 - lost):
            one, other = at[first], at[first + lost]
            for damaged in (stored[:one] + stored[other:], stored[:other] + stored[one:]):
                with pytest.raises(gs.DecodeError):
                    gs.decode(damaged, crop=(x, y, side, side))
                with pytest.raises(gs.DecodeError):
                    gs.decode(damaged)
                if not interval:
                    with pytest.raises(gs.DecodeError, match="restart interval"):
                        gs.crop_jpeg(damaged, (x, y, side, side))
                for divert in (False, True):
                    assert batch_fails(damaged, x, y, side, divert=divert)
    finally:
        _core.set_jpeg_path("auto")


def batch_fails(data: bytes, x: int, y: int, side: int, *, divert: bool) -> bool:
    """Whether the batch call refuses the image: no pixels, and nothing for another decoder either."""
    out = np.empty((1, 3, side, side), np.uint8)
    with gs.BatchDecoder(threads=1) as decoder:
        job = decoder.submit([data], out, crops=[[x, y]], divert=[divert])
        job.wait()
        return bool(job.errors()) and not job.diverted()


def test_damage_never_gives_wrong_pixels_unnoticed() -> None:
    """A cut of a damaged file fails, or shows what a full decode of the damaged file shows."""
    stored = crop_ready(jpeg(300, 80))
    chance = random.Random(2)
    for _ in range(400):
        data = bytearray(stored)
        data[chance.randrange(2, len(data))] ^= 1 << chance.randrange(8)
        try:
            cut, (x, y, w, h) = gs.crop_jpeg(data, (100, 20, 90, 40))
            part = gs.decode(cut, crop=(x, y, w, h))
        except (gs.DecodeError, IndexError):
            continue
        whole = gs.decode(bytes(data), strict=False)
        assert np.array_equal(part, whole[20:60, 100:190])


def test_crops_outside_the_image_and_other_formats() -> None:
    stored = crop_ready(jpeg(100, 50))
    for crop in [(-1, 0, 5, 5), (0, 0, 101, 5), (90, 0, 11, 5), (0, 0, 0, 5), (0, 50, 1, 1), (2**31 - 1, 0, 2, 2)]:
        with pytest.raises(IndexError):
            gs.crop_jpeg(stored, crop)
    for huge in [(2**31, 0, 5, 5), (0, 0, 2**40, 5), (0, -(2**70), 5, 5)]:
        with pytest.raises(IndexError):
            gs.crop_jpeg(stored, huge)
    for data in (b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n"):
        with pytest.raises(gs.DecodeError):
            gs.crop_jpeg(data, (0, 0, 1, 1))


@pytest.mark.skipif(shutil.which("djpeg") is None, reason="needs djpeg")
@pytest.mark.parametrize("variant", ["progressive 420", "baseline 444", "gray progressive"])
def test_djpeg_sees_the_same_pixels(variant: str) -> None:
    original = VARIANTS[variant](250, 188, 3)
    ours, theirs = (
        subprocess.run(["djpeg", "-ppm"], input=data, capture_output=True, check=True)
        for data in (crop_ready(original), original)
    )
    assert ours.stderr == b""
    assert ours.stdout == theirs.stdout
