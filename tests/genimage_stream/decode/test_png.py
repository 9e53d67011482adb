"""PNG decoding, pixel by pixel against Pillow (libpng's rules) and against plain NumPy, on files made here."""

from __future__ import annotations

import io
import zlib

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from genimage_stream.decode import decode, inspect
from tests.fixtures import png

NAMES = {png.GRAY: "gray", png.RGB: "rgb", png.PALETTE: "palette", png.GRAY_ALPHA: "gray_alpha", png.RGBA: "rgba"}
IDS = [f"{NAMES[c]}{d}" for c, d in png.FORMATS]


def pillow(data: bytes) -> npt.NDArray[np.uint8]:
    """libpng's pixels, through Pillow; of 16-bit gray, which convert("RGB") would clip, the high byte."""
    image = Image.open(io.BytesIO(data))
    if image.mode.startswith("I"):
        high = (np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)
        return np.repeat(high[:, :, None], 3, axis=2)
    return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("interlace", [False, True], ids=["plain", "interlaced"])
@pytest.mark.parametrize(("color", "depth"), png.FORMATS, ids=IDS)
def test_every_format_filter_and_width(color: int, depth: int, interlace: bool) -> None:
    rng = np.random.default_rng(color * 100 + depth)
    for width in [*range(1, 20), 23, 24, 31, 32, 33, 40]:
        height = int(rng.integers(1, 24))
        samples = png.random_samples(rng, height, width, color, depth)
        filters = rng.integers(0, 5, 64).tolist()
        data = png.write_png(samples, color, depth, filters=filters, interlace=interlace)
        pixels = decode(data)
        np.testing.assert_array_equal(pixels, png.as_rgb(samples, color, depth), err_msg=f"{width}x{height}")
        np.testing.assert_array_equal(pixels, pillow(data))


@pytest.mark.parametrize(("color", "depth"), png.FORMATS, ids=IDS)
def test_interlaced_files_of_every_small_size(color: int, depth: int) -> None:
    """Up to 9x9 every one of the seven passes is empty, one pixel wide or high, and more, in every combination."""
    rng = np.random.default_rng(color * 100 + depth)
    for width in range(1, 10):
        for height in range(1, 10):
            samples = png.random_samples(rng, height, width, color, depth)
            data = png.write_png(samples, color, depth, filters=rng.integers(0, 5, 64).tolist(), interlace=True)
            expected = pillow(data)
            np.testing.assert_array_equal(decode(data), expected, err_msg=f"{width}x{height}")
            x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
            crop = (x, y, int(rng.integers(1, width - x + 1)), int(rng.integers(1, height - y + 1)))
            np.testing.assert_array_equal(decode(data, crop=crop), expected[y : y + crop[3], x : x + crop[2]])


@pytest.mark.parametrize("filters", [0, 1, 2, 3, 4, (4, 1), (2, 3), (4, 4, 4, 1, 2, 2, 0), (3, 4)])
@pytest.mark.parametrize(("color", "depth"), png.FORMATS, ids=IDS)
def test_filters_on_larger_images(color: int, depth: int, filters: int | tuple[int, ...]) -> None:
    rng = np.random.default_rng(7)
    for width, height in [(150, 67), (257, 40), (64, 33)]:
        samples = png.random_samples(rng, height, width, color, depth)
        data = png.write_png(samples, color, depth, filters=filters)
        np.testing.assert_array_equal(decode(data), png.as_rgb(samples, color, depth))


@pytest.mark.parametrize("interlace", [False, True], ids=["plain", "interlaced"])
@pytest.mark.parametrize(("color", "depth"), png.FORMATS, ids=IDS)
def test_crop_equals_full_then_slice(color: int, depth: int, interlace: bool) -> None:
    rng = np.random.default_rng(color + depth)
    for _ in range(12):
        width, height = (int(v) for v in rng.integers(1, 120, 2))
        samples = png.random_samples(rng, height, width, color, depth)
        kinds = [(0, 1, 2, 3, 4), (4,), (2,), (1, 4), (3,)][int(rng.integers(0, 5))]
        strategy = int(rng.choice([zlib.Z_DEFAULT_STRATEGY, zlib.Z_RLE, zlib.Z_HUFFMAN_ONLY, zlib.Z_FIXED]))
        data = png.write_png(
            samples,
            color,
            depth,
            filters=rng.choice(kinds, 64).tolist(),
            interlace=interlace,
            level=int(rng.integers(0, 10)),
            strategy=strategy,
        )
        full = png.as_rgb(samples, color, depth)
        for _ in range(12):
            x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
            w, h = int(rng.integers(1, width - x + 1)), int(rng.integers(1, height - y + 1))
            crop = decode(data, crop=(x, y, w, h))
            np.testing.assert_array_equal(crop, full[y : y + h, x : x + w])


@pytest.mark.parametrize("level", [0, 1, 6, 9])
def test_crops_end_anywhere_in_the_stream(level: int) -> None:
    """Every last row, over stored blocks, long matches and block borders: the cut must not lose a byte."""
    rng = np.random.default_rng(level)
    samples = png.random_samples(rng, 300, 200, png.RGB, 8)
    samples[100:180] = 9  # matches of the greatest length
    data = png.write_png(samples, png.RGB, 8, filters=(0, 4, 2), level=level)
    full = png.as_rgb(samples, png.RGB, 8)
    for bottom in range(1, 301, 2):
        x, w = int(rng.integers(0, 100)), int(rng.integers(1, 100))
        crop = decode(data, crop=(x, bottom - 1, w, 1))
        np.testing.assert_array_equal(crop, full[bottom - 1 : bottom, x : x + w])


def test_crop_outside_is_an_index_error() -> None:
    data = png.write_png(png.random_samples(np.random.default_rng(0), 5, 7, png.RGB, 8), png.RGB, 8)
    for crop in [
        (-1, 0, 2, 2),
        (0, -1, 2, 2),
        (6, 0, 2, 1),
        (0, 4, 1, 2),
        (0, 0, 8, 5),
        (0, 0, 0, 1),
        (0, 0, 1, -1),
        (2**31 - 1, 0, 2, 2),
        (0, 0, 2**31 - 1, 1),
    ]:
        with pytest.raises(IndexError):
            decode(data, crop=crop)


def test_pieces_of_image_data() -> None:
    """Image data in several chunks, some of them empty, and things around it that do not matter."""
    rng = np.random.default_rng(1)
    samples = png.random_samples(rng, 30, 40, png.RGB, 8)
    expected = png.as_rgb(samples, png.RGB, 8)
    text = png.chunk(b"tEXt", b"Title\0no matter", crc=0) + png.chunk(b"gAMA", b"\0\0\0\1") + png.chunk(b"prVt")
    for sizes in [(0,), (0, 0, 1, 1, 1), (100, 0, 0, 200), (1,) * 200, (2, 5, 8192)]:
        for before, after, trailing in [(b"", b"", b""), (text, text, b"anything"), (b"", b"", bytes(1000))]:
            data = png.write_png(samples, png.RGB, 8, idat_sizes=sizes, before=before, after=after, trailing=trailing)
            np.testing.assert_array_equal(decode(data), expected)
    data = png.write_png(samples, png.RGB, 8, idat_sizes=(300,) * 3)
    end = data.index(png.chunk(b"IEND"))
    empty_last = data[:end] + png.chunk(b"IDAT") + data[end:]
    np.testing.assert_array_equal(decode(empty_last), expected)


def test_transparency_is_dropped() -> None:
    rng = np.random.default_rng(2)
    for color, depth, trns in [
        (png.GRAY, 8, b"\0\7"),
        (png.RGB, 8, b"\0\1\0\2\0\3"),
        (png.PALETTE, 8, bytes(256)),
        (png.PALETTE, 2, bytes(4)),
        (png.GRAY, 1, b"\0\1"),
        (png.RGB, 16, bytes(6)),
    ]:
        for interlace in (False, True):
            samples = png.random_samples(rng, 20, 33, color, depth)
            data = png.write_png(samples, color, depth, interlace=interlace, before=png.chunk(b"tRNS", trns))
            np.testing.assert_array_equal(decode(data), png.as_rgb(samples, color, depth))
            np.testing.assert_array_equal(decode(data), pillow(data))


def test_gamma_and_colour_profile_change_nothing() -> None:
    samples = png.random_samples(np.random.default_rng(3), 9, 9, png.RGBA, 16)
    before = png.chunk(b"gAMA", b"\0\1\x86\xa0") + png.chunk(b"sRGB", b"\0") + png.chunk(b"bKGD", bytes(6))
    data = png.write_png(samples, png.RGBA, 16, before=before)
    np.testing.assert_array_equal(decode(data), png.as_rgb(samples, png.RGBA, 16))


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_palette_index_out_of_range_is_black(depth: int) -> None:
    """As libpng: entries that the palette does not have are zero."""
    rng = np.random.default_rng(depth)
    samples = png.random_samples(rng, 12, 30, png.PALETTE, depth)
    entries = (1 << depth) - 1
    palette = png.random_palette(rng, entries)
    assert (samples >= entries).any()
    data = png.write_png(samples, png.PALETTE, depth, palette=palette)
    expected = png.as_rgb(samples, png.PALETTE, depth, palette)
    assert not expected[samples[..., 0] >= entries].any()
    np.testing.assert_array_equal(decode(data), expected)


def test_palette_in_a_true_colour_image_is_only_a_suggestion() -> None:
    samples = png.random_samples(np.random.default_rng(4), 12, 30, png.RGB, 8)
    data = png.write_png(samples, png.RGB, 8, palette=bytes(range(30)))
    np.testing.assert_array_equal(decode(data), png.as_rgb(samples, png.RGB, 8))


def test_more_image_data_than_rows_is_ignored() -> None:
    """As libpng and Pillow: the picture is whole, and what follows it is not part of it."""
    rng = np.random.default_rng(5)
    samples = png.random_samples(rng, 20, 30, png.RGB, 8)
    raw = png.filtered(samples, 8, (4, 2))
    expected = png.as_rgb(samples, png.RGB, 8)
    for extra, level in [(b"\0", 6), (bytes(5000), 6), (bytes(70000), 0), (rng.bytes(300), 6), (raw[-300:], 9)]:
        data = png.assemble(png.ihdr(30, 20, 8, png.RGB), zlib.compress(raw + extra, level))
        np.testing.assert_array_equal(decode(data), expected)
    data = png.assemble(png.ihdr(30, 20, 8, png.RGB), zlib.compress(raw) + b"after the stream")
    np.testing.assert_array_equal(decode(data), expected)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_files_of_pillow(mode: str) -> None:
    """Pillow's encoder, optimised and not, and what `inspect` says of its files."""
    rng = np.random.default_rng(6)
    rgb = png.as_rgb(png.random_samples(rng, 200, 220, png.RGB, 8), png.RGB, 8)
    image = Image.fromarray(rgb)
    image = Image.fromarray(rgb[..., 0].astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)
    for options in [{}, {"optimize": True}, {"compress_level": 1}, {"compress_level": 0}]:
        file = io.BytesIO()
        image.save(file, "PNG", **options)
        data = file.getvalue()
        expected = pillow(data) if mode != "I;16" else rgb[..., [0, 0, 0]]
        np.testing.assert_array_equal(decode(data), expected)
        np.testing.assert_array_equal(decode(data, crop=(31, 50, 100, 120)), expected[50:170, 31:131])
        facts = inspect(data)
        assert (facts.format, facts.mode, facts.width, facts.height) == ("png", Image.open(file).mode, 220, 200)
        assert facts.jpeg_quality is None
        assert facts.progressive is False
