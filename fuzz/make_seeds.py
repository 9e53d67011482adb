"""Writes the seed corpora: small images of every kind that the decoders tell apart, each with parameter bytes appended.

    python make_seeds.py FOLDER        writes FOLDER/jpeg, FOLDER/png, FOLDER/webp and FOLDER/inflate

Everything is derived from a fixed seed. Needs Pillow and NumPy.
"""

from __future__ import annotations

import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

PARAMETERS = 48
SIZES = [(1, 1), (7, 5), (16, 16), (17, 33), (64, 48), (95, 70)]
Pixels = npt.NDArray[np.uint8]


def picture(rng: np.random.Generator, width: int, height: int, channels: int = 3) -> Pixels:
    """Waves and noise, so that every coding tool has something to do."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [128 + 90 * np.sin(x / rng.uniform(2, 12)) * np.cos(y / rng.uniform(2, 12)) for _ in range(channels)]
    noisy = np.stack(waves, axis=2) + rng.normal(0, rng.uniform(0, 30), (height, width, channels))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def jpegs(rng: np.random.Generator) -> dict[str, bytes]:
    files = {}
    for width, height in SIZES:
        for mode, channels in (("RGB", 3), ("L", 1), ("CMYK", 4)):
            for name, options in {
                "444": {"subsampling": 0},
                "422": {"subsampling": 1},
                "420": {"subsampling": 2},
                "progressive": {"progressive": True},
                "restart": {"restart_marker_blocks": 3},
                "q5": {"quality": 5, "optimize": True},
                "q100": {"quality": 100},
            }.items():
                pixels = picture(rng, width, height, channels)
                file = io.BytesIO()
                image = Image.frombytes(mode, (width, height), pixels.tobytes())
                image.save(file, "JPEG", **options)  # type: ignore[arg-type]
                files[f"{mode}-{width}x{height}-{name}.jpg"] = file.getvalue()
    # A whole image within what may be taken for a segment: readers of headers must agree on which is shown.
    for mode in ("RGB", "L", "CMYK"):
        inner, outer = files[f"{mode}-95x70-q5.jpg"][2:], files[f"{mode}-7x5-444.jpg"]
        for name, marker in {
            "stuffed": b"\xff\x00",
            "app": b"\xff\xe3",
            "junk": b"\x00\x00",
            "tem": b"\xff\x01",
        }.items():
            segment = marker + (len(inner) + 2).to_bytes(2, "big") + inner
            files[f"{mode}-hidden-{name}.jpg"] = outer[:2] + segment + outer[2:]
    return files


def webps(rng: np.random.Generator) -> dict[str, bytes]:
    """Lossy, lossless, with alpha, animated; of a small animation also one frame on a larger canvas."""
    files = {}
    for width, height in SIZES:
        for channels, mode in ((3, "RGB"), (4, "RGBA")):
            image = Image.fromarray(picture(rng, width, height, channels))
            for name, options in {
                "q5": {"quality": 5},
                "q90": {"quality": 90, "method": 6},
                "lossless": {"lossless": True, "exact": True},
                "quick": {"lossless": True, "method": 0, "quality": 0},
                "animated": {
                    "save_all": True,
                    "append_images": [image.rotate(180)],
                    "duration": 9,
                    "allow_mixed": True,
                },
            }.items():
                file = io.BytesIO()
                image.save(file, "WEBP", **options)  # type: ignore[arg-type]
                files[f"{mode}-{width}x{height}-{name}.webp"] = file.getvalue()
    for name in [name for name in files if name.endswith("animated.webp")]:
        data = bytearray(files[name])  # the canvas' sides are at bytes 24 and 27
        for at in (24, 27):
            data[at : at + 3] = (int.from_bytes(data[at : at + 3], "little") + 7).to_bytes(3, "little")
        files[name.replace("animated", "canvas")] = bytes(data)
    return files


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def png(rng: np.random.Generator, width: int, height: int, colour: int, depth: int, interlaced: bool) -> bytes:
    """Random bytes as filtered rows: every filter type, every pixel value."""
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    rows = b""
    for left, top, across, down in passes:
        columns, lines = -(-(width - left) // across), -(-(height - top) // down)
        if columns <= 0 or lines <= 0:
            continue
        for _ in range(lines):
            smooth = rng.integers(0, 4, (columns * CHANNELS[colour] * depth + 7) // 8, dtype=np.uint8)
            rows += bytes([int(rng.integers(0, 5))]) + smooth.tobytes()
    packed = zlib.compress(rows, int(rng.integers(0, 10)))
    parts = int(rng.integers(1, 4))
    size = len(packed) // parts + 1
    out = b"\x89PNG\r\n\x1a\n" + chunk(
        b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    )
    if colour == 3:
        out += chunk(b"PLTE", rng.integers(0, 256, 3 << depth, dtype=np.uint8).tobytes())
    if rng.integers(0, 2):
        out += chunk(b"tEXt", b"Comment\0seed")
    for at in range(0, len(packed), size):
        out += chunk(b"IDAT", packed[at : at + size])
    return out + chunk(b"IEND", b"")


def pngs(rng: np.random.Generator) -> dict[str, bytes]:
    files = {}
    for width, height in SIZES:
        for colour, depths in DEPTHS.items():
            for depth in depths:
                for interlaced in (False, True):
                    name = f"colour{colour}-depth{depth}-{width}x{height}{'-interlaced' if interlaced else ''}.png"
                    files[name] = png(rng, width, height, colour, depth, interlaced)
    return files


def streams(rng: np.random.Generator) -> dict[str, bytes]:
    """Bytes to be compressed, and streams of every kind of block; fuzz_inflate has its parameters in front."""
    files = {}
    for size in (0, 1, 30, 400, 9000, 70000):
        for name, top in (("flat", 2), ("smooth", 7), ("noise", 256)):
            data = rng.integers(0, top, size, dtype=np.uint8).tobytes()
            data += data[: size // 3] * 2
            for level in (-1, 0, 1, 9):
                packed = data if level < 0 else zlib.compress(data, level)
                choice = int(rng.integers(0, 1 << 14)) * 4 + (int(rng.integers(1, 4)) if level < 0 else 0)
                files[f"{name}-{size}-level{level}"] = struct.pack("<HH", choice, int(rng.integers(0, 3000))) + packed
    return files


def main(folder: Path) -> None:
    rng = np.random.default_rng(2024)
    for kind, files in (("jpeg", jpegs(rng)), ("png", pngs(rng)), ("webp", webps(rng))):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            parameters = rng.integers(0, 256, PARAMETERS, dtype=np.uint8).tobytes()
            (folder / kind / name).write_bytes(data + parameters)
    (folder / "inflate").mkdir(parents=True, exist_ok=True)
    for name, data in streams(rng).items():
        (folder / "inflate" / name).write_bytes(data)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
