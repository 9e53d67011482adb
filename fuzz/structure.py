"""Mutations of an image's structure: segments of a JPEG and chunks of a PNG, which changes of bytes seldom reach.

    python structure.py COUNT FOLDER        writes FOLDER/jpeg and FOLDER/png: inputs for the fuzz targets, as seeds are

Parts are dropped, doubled, moved, taken from another image, split, renamed, hidden in one another, or get a field of
their header changed; checksums of PNG chunks are put right again. The same arguments write the same files.
"""

from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path

import make_seeds
import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_MARKERS = (
    0x00,
    0x01,
    0xC0,
    0xC1,
    0xC2,
    0xC3,
    0xC4,
    0xC9,
    0xCC,
    0xD0,
    0xD8,
    0xD9,
    0xDA,
    0xDB,
    0xDC,
    0xDD,
    0xE0,
    0xEE,
)
PNG_TYPES = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"bKGD", b"tEXt", b"gsBD", b"acTL", b"QQQQ", b"qqqq")
BETWEEN = (b"\xff", b"\x00", b"\xff\x00", b"\xff\x01", b"\xff\xd0", b"\xff\xd8", b"\x00\x00\x00\x00", b"\xff\xff\xff")


def jpeg_parts(data: bytes) -> list[bytes]:
    """SOI, each segment (that of a scan with its entropy-coded data), EOI and what follows."""
    parts, at = [data[:2]], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xD9:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == 0xDA:
            while end + 1 < len(data) and (data[end] != 0xFF or data[end + 1] == 0 or 0xD0 <= data[end + 1] <= 0xD7):
                end += 1
        parts.append(data[at:end])
        at = end
    return [*parts, data[at:]]


def png_parts(data: bytes) -> list[bytes]:
    """The signature, then each chunk, whole."""
    parts, at = [data[:8]], 8
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        parts.append(data[at:end])
        at = end
    return parts


def change_field(rng: np.random.Generator, part: bytes, first: int, last: int) -> bytes:
    """One byte among the first of a part's data: sizes, factors, table numbers, spectral bounds are there."""
    out = bytearray(part)
    if len(out) > first:
        at = int(rng.integers(first, min(len(out), last)))
        near = (out[at] + int(rng.integers(-2, 3))) & 255
        out[at] = int(rng.choice([near, 0, 1, 2, 3, 0x11, 0x12, 0x21, 0x22, 0x41, 255, int(rng.integers(0, 256))]))
    return bytes(out)


def sealed(chunk: bytes) -> bytes:
    """A PNG chunk with its length and checksum put right."""
    body = chunk[4:-4]
    return struct.pack(">I", max(0, len(body) - 4)) + body + struct.pack(">I", zlib.crc32(body))


def mutate(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """`data` with one to four changes; `other` is an image of the same format from which parts may come."""
    is_png = data.startswith(SIGNATURE)
    cut = png_parts if is_png else jpeg_parts
    parts, others = cut(data), cut(other)
    for _ in range(int(rng.integers(1, 5))):
        at, to = int(rng.integers(0, len(parts))), int(rng.integers(1, len(parts) + 1))
        part = parts[at]
        match int(rng.integers(0, 9)):
            case 0 if at > 0:
                del parts[at]
            case 1:
                parts.insert(to, part)
            case 2 if at > 0:
                parts.insert(to, parts.pop(at))
            case 3:
                parts.insert(to, others[int(rng.integers(1, len(others)))])
            case 4 if is_png:  # a chunk in two
                middle = int(rng.integers(8, max(9, len(part) - 4)))
                parts[at : at + 1] = [sealed(part[:middle] + bytes(4)), sealed(part[:8] + part[middle:])]
            case 4 if len(part) > 5:  # the entropy-coded data, or a table, cut short
                parts[at] = part[: int(rng.integers(4, len(part)))]
            case 5 if is_png:
                name = PNG_TYPES[int(rng.integers(0, len(PNG_TYPES)))]
                parts[at] = sealed(part[:4] + name + part[8:]) if at > 0 else part
            case 5 if len(part) > 2 and at > 0:
                parts[at] = part[:1] + bytes([JPEG_MARKERS[int(rng.integers(0, len(JPEG_MARKERS)))]]) + part[2:]
            case 6:
                parts.insert(to, BETWEEN[int(rng.integers(0, len(BETWEEN)))])
            case 7:  # a whole image, or its end, within a segment or chunk of any name
                inner = b"".join(others[int(rng.integers(0, len(others))) :])[:60000]
                if is_png:
                    name = PNG_TYPES[int(rng.integers(0, len(PNG_TYPES)))]
                    parts.insert(to, sealed(bytes(4) + name + inner + bytes(4)))
                else:
                    marker = JPEG_MARKERS[int(rng.integers(0, len(JPEG_MARKERS)))]
                    parts.insert(to, bytes([0xFF, marker]) + (len(inner) + 2).to_bytes(2, "big") + inner)
            case _ if at > 0:
                changed = change_field(rng, part, 8 if is_png else 4, 24)
                parts[at] = sealed(changed) if is_png else changed
    return b"".join(parts)


def main(count: int, folder: Path) -> None:
    rng = np.random.default_rng(count)
    for kind, files in (("jpeg", make_seeds.jpegs(rng)), ("png", make_seeds.pngs(rng))):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        seeds = list(files.values())
        for i in range(count):
            one, other = (seeds[int(rng.integers(0, len(seeds)))] for _ in range(2))
            parameters = rng.integers(0, 256, make_seeds.PARAMETERS, dtype=np.uint8).tobytes()
            (folder / kind / f"{i:06}").write_bytes(mutate(rng, one, other) + parameters)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
