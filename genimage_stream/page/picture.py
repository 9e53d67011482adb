"""Thumbnails inside a page: shrink by the mean of areas, write as PNG, embed as data. NumPy and zlib alone."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]


def shrink(pixels: Pixels, side: int) -> Pixels:
    """(height, width, 3) uint8 to at most `side` pixels on the longer edge, each the mean of the area that it covers.

    An image that already fits is returned as it is.
    """
    height, width = pixels.shape[:2]
    longest = max(height, width)
    if longest <= side:
        return pixels
    new_height, new_width = (max(1, round(edge * side / longest)) for edge in (height, width))
    rows = area_means(pixels.astype(np.float32), new_height)
    both = area_means(rows.swapaxes(0, 1), new_width).swapaxes(0, 1)
    rounded: Pixels = np.clip(np.rint(both), 0, 255).astype(np.uint8)
    return rounded


def area_means(values: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.float32]:
    """Means of `count` equal stretches of the first axis; borders between samples count by the part that is covered."""
    length = values.shape[0]
    total = np.zeros((length + 1, *values.shape[1:]), np.float64)
    np.cumsum(values, axis=0, out=total[1:], dtype=np.float64)
    at = np.linspace(0, length, count + 1)
    whole = np.minimum(at.astype(np.int64), length - 1)
    part = (at - whole).reshape(-1, *([1] * (values.ndim - 1)))
    sums = total[whole] * (1 - part) + total[whole + 1] * part
    means: npt.NDArray[np.float32] = (np.diff(sums, axis=0) * (count / length)).astype(np.float32)
    return means


def encode_png(pixels: Pixels) -> bytes:
    """(height, width, 3) uint8 as a PNG; each row by the filter that leaves the smallest numbers."""
    height, width = pixels.shape[:2]
    rows = np.ascontiguousarray(pixels).reshape(height, width * 3).astype(np.int16)
    left, up, corner = np.zeros_like(rows), np.zeros_like(rows), np.zeros_like(rows)
    left[:, 3:], up[1:], corner[1:, 3:] = rows[:, :-3], rows[:-1], rows[:-1, :-3]
    guess = left + up - corner
    near = np.stack([abs(guess - left), abs(guess - up), abs(guess - corner)])
    paeth = np.choose(np.argmin(near, axis=0), [left, up, corner])  # the first of equals: left, up, corner
    filtered = np.stack([rows, rows - left, rows - up, rows - (left + up) // 2, rows - paeth]).astype(np.uint8)
    cost = np.abs(filtered.view(np.int8).astype(np.int32)).sum(axis=2)
    chosen = np.argmin(cost, axis=0)
    lines = np.empty((height, 1 + width * 3), np.uint8)
    lines[:, 0] = chosen
    lines[:, 1:] = filtered[chosen, np.arange(height)]
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(lines.tobytes(), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def data_address(png: bytes) -> str:
    """A PNG as a data: address."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
