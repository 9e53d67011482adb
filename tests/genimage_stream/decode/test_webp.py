"""WebP beside Pillow: lossy, lossless, with alpha and animated, whole and by crops, sound and damaged."""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

import genimage_stream as gs
from genimage_stream.decode.crop_ready import recode_proven

pytestmark = pytest.mark.skipif(not features.check("webp"), reason="this Pillow has no WebP")
Pixels = np.ndarray
LIMITS = gs.Limits(max_pixels=1 << 20)

KINDS: dict[str, dict[str, Any]] = {
    "lossy": {},
    "worst": {"quality": 0, "method": 0},
    "best": {"quality": 100, "method": 6},
    "lossless": {"lossless": True, "exact": True},
    "quick lossless": {"lossless": True, "method": 0, "quality": 0},
    "animated": {"save_all": True, "duration": 10, "minimize_size": True},
    "mixed": {"save_all": True, "duration": 10, "allow_mixed": True},
}


def picture(rng: np.random.Generator, height: int, width: int, channels: int) -> Pixels:
    y, x = np.mgrid[:height, :width]
    waves = [127 + 100 * np.sin(x / rng.uniform(3, 30) + y / rng.uniform(3, 30)) for _ in range(channels)]
    noise = rng.normal(0, rng.uniform(0, 30), (height, width, channels))
    return np.clip(np.stack(waves, axis=2) + noise, 0, 255).astype(np.uint8)


def encoded(kind: str, pixels: Pixels) -> bytes:
    to = io.BytesIO()
    options = dict(KINDS[kind])
    if "save_all" in options:
        options["append_images"] = [Image.fromarray(pixels[::-1].copy())]
    Image.fromarray(pixels).save(to, "WEBP", **options)
    return to.getvalue()


def by_pillow(data: bytes) -> Pixels:
    image = Image.open(io.BytesIO(data))
    return np.asarray(image.convert("RGB")) if image.width * image.height <= LIMITS.max_pixels else np.zeros(0)


def chunk(name: bytes, body: bytes) -> bytes:
    return name + len(body).to_bytes(4, "little") + body + b"\0" * (len(body) % 2)


def riff(body: bytes) -> bytes:
    return b"RIFF" + (len(body) + 4).to_bytes(4, "little") + b"WEBP" + body


def three(number: int) -> bytes:
    return number.to_bytes(3, "little")


def on_canvas(image: bytes, size: tuple[int, int], at: tuple[int, int], canvas: tuple[int, int]) -> bytes:
    """An animation of one frame, the image chunks of a plain file."""
    head = chunk(b"VP8X", b"\x02\0\0\0" + three(canvas[0] - 1) + three(canvas[1] - 1)) + chunk(b"ANIM", bytes(6))
    place = three(at[0] // 2) + three(at[1] // 2) + three(size[0] - 1) + three(size[1] - 1) + three(100) + b"\0"
    return riff(head + chunk(b"ANMF", place + image[12:]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [3, 4])
def test_equals_pillow_by_crops(kind: str, channels: int) -> None:
    rng = np.random.default_rng(len(kind) + channels)
    for size in [(1, 1), (2, 3), (17, 16), (40, 90), *rng.integers(1, 120, (5, 2)).tolist()]:
        data = encoded(kind, picture(rng, *size, channels))
        want, mode = by_pillow(data), Image.open(io.BytesIO(data)).mode
        facts = gs.inspect(data)
        assert (facts.format, facts.mode, facts.bit_depth) == ("webp", mode, 8)
        assert (facts.jpeg_quality, facts.chroma, facts.progressive) == (None, None, False)
        assert gs.check(data) == facts
        np.testing.assert_array_equal(gs.decode(data), want)
        height, width = want.shape[:2]
        for _ in range(12):
            w, h = int(rng.integers(1, width + 1)), int(rng.integers(1, height + 1))
            x, y = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
            np.testing.assert_array_equal(gs.decode(data, crop=(x, y, w, h)), want[y : y + h, x : x + w], str((x, y)))


@pytest.mark.parametrize("lossless", [False, True])
def test_a_frame_that_does_not_cover_its_canvas(lossless: bool) -> None:
    rng = np.random.default_rng(5)
    image = encoded("lossless" if lossless else "lossy", picture(rng, 21, 30, 3))
    data = on_canvas(image, (30, 21), (10, 6), (60, 50))
    want = by_pillow(data)
    assert want.shape == (50, 60, 3)
    np.testing.assert_array_equal(want[6:27, 10:40], by_pillow(image))
    np.testing.assert_array_equal(gs.decode(data), want)
    for x, y, w, h in [(0, 0, 5, 5), (0, 0, 11, 7), (12, 8, 9, 9), (15, 0, 45, 50), (39, 26, 8, 8), (40, 27, 3, 3)]:
        np.testing.assert_array_equal(gs.decode(data, crop=(x, y, w, h)), want[y : y + h, x : x + w])
    outside = on_canvas(image, (30, 21), (40, 6), (60, 50))
    with pytest.raises(gs.DecodeError):
        gs.decode(outside)


def test_in_batches_resized_extended_and_without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    files = [encoded(kind, picture(rng, 50, 60, 4)) for kind in KINDS]
    want = [by_pillow(data) for data in files]
    monkeypatch.setitem(sys.modules, "PIL", None)
    out = np.zeros((len(files), 3, 30, 40), np.uint8)
    assert not gs.decode_batch(files, out, crops=[(7, 9)] * len(files), flips=[1] * len(files))
    for found, pixels in zip(out, want, strict=True):
        np.testing.assert_array_equal(found.transpose(1, 2, 0), pixels[9:39, 7:47][:, ::-1])
    wide = np.zeros((len(files), 3, 70, 90), np.uint8)
    assert not gs.decode_batch(files, wide, crops=[(0, 0)] * len(files))
    for found, pixels in zip(wide, want, strict=True):
        np.testing.assert_array_equal(found.transpose(1, 2, 0), np.tile(pixels, (2, 2, 1))[:70, :90])
    # Resized as a PNG of the same pixels is.
    monkeypatch.undo()
    plain = []
    for pixels in want:
        to = io.BytesIO()
        Image.fromarray(pixels).save(to, "PNG")
        plain.append(to.getvalue())
    half = [np.zeros((len(files), 3, 20, 20), np.uint8) for _ in range(2)]
    for images, array in zip((files, plain), half, strict=True):
        assert not gs.decode_batch(images, array, crops=[(3, 2)] * len(files), resized=[(30, 25)] * len(files))
    np.testing.assert_array_equal(*half)


def test_stays_as_it_is_in_crop_ready_datasets() -> None:
    data = encoded("lossy", picture(np.random.default_rng(7), 30, 40, 3))
    seen: list[Pixels] = []
    proven = recode_proven(data, lambda pixels: seen.append(np.array(pixels)))
    assert (proven.file, proven.why) == (None, "neither JPEG nor PNG")
    assert proven.facts == gs.inspect(data)
    np.testing.assert_array_equal(seen[0], by_pillow(data))
    assert gs.make_crop_ready(data) is None


def accepted(read: Any, data: bytes) -> Pixels | None:
    try:
        pixels: Pixels = read(data)
    except (gs.DecodeError, OSError, ValueError, SyntaxError):
        return None
    return pixels


@pytest.mark.parametrize("kind", KINDS)
def test_verdicts_are_pillows(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of files cut off at any place, and of files with changed bytes: refused alike, and looking alike."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    rng = np.random.default_rng(8)
    data = encoded(kind, picture(rng, 24, 33, 4))
    cut = [data[:end] for end in {*range(60), *rng.integers(0, len(data), 60).tolist()}]
    changed = []
    for number in range(150):
        one = bytearray(data)
        for _ in range(int(rng.integers(1, 4))):
            at = int(rng.integers(12, 70 if number % 2 else len(data)))
            one[at] = int(rng.integers(0, 256))
        changed.append(bytes(one))
    for one in [*cut, *changed, data + b"after the end", data + data]:
        want = accepted(by_pillow, one)
        found = accepted(lambda image: gs.decode(image, limits=LIMITS), one)
        if want is not None and want.size == 0:  # too large
            assert found is None
            continue
        assert (found is None) == (want is None)
        if found is not None:
            np.testing.assert_array_equal(found, want)


def test_errors_say_what_is_wrong() -> None:
    data = encoded("lossy", picture(np.random.default_rng(9), 40, 50, 3))
    for call in (gs.decode, gs.inspect, gs.check):
        with pytest.raises(gs.DecodeError, match="50x40 pixels, more than the limit of 1999"):
            call(data, limits=gs.Limits(max_pixels=1999))
        with pytest.raises(gs.DecodeError, match=r"truncated WebP: it has \d+ bytes of \d+"):
            call(data[:-9])
        with pytest.raises(gs.DecodeError, match="WebP: it ends within its header"):
            call(data[:16])
        with pytest.raises(gs.DecodeError, match="damaged WebP: its header is not sound"):
            call(data[:16] + bytes(20))
    with pytest.raises(IndexError, match="not inside the image of 50x40"):
        gs.decode(data, crop=(49, 0, 2, 2))
    lossless = encoded("lossless", picture(np.random.default_rng(9), 40, 50, 3))
    with pytest.raises(gs.DecodeError, match="damaged WebP: its image data cannot be decoded"):
        gs.decode(lossless[:30] + b"\xff" * (len(lossless) - 30))
