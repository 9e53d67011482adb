"""Input of the kernels in jpeg_intervals.cu: the tables and, without stuffing, the restart intervals of JPEGs that
gs.crop_jpeg cut.

What is not a small baseline JPEG with restart intervals, of the samplings that the kernels know, stays with the CPU.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import genimage_stream as gs
from experiments.gpu_decode.plan import NotForTheKernelError, Window

LANES = 32  # a warp has the intervals of one picture
_SLACK = 8  # bytes behind each interval, which the kernel may read
# Zigzag order, diagonal by diagonal: odd ones downwards, even ones upwards (T.81, figure A.6).
_NATURAL = sorted(range(64), key=lambda i: (i // 8 + i % 8, i // 8 if (i // 8 + i % 8) % 2 else i % 8))

TABLES = np.dtype([("quant", np.uint8, (3, 64)), ("counts", np.uint8, (4, 16)), ("symbols", np.uint8, (4, 256))])
PICTURE = np.dtype(
    [
        ("image", np.uint32),
        ("blocks", np.uint32),
        ("samples", np.uint32, 3),
        ("mcus_per_row", np.uint16),
        ("mcu_rows", np.uint16),
        ("width", np.uint16),
        ("height", np.uint16),
        ("x", np.uint16),
        ("y", np.uint16),
        ("components", np.uint8),
        ("h", np.uint8),
        ("v", np.uint8),
        ("mirrored", np.uint8),
        ("tables", np.uint8, 3),
        ("unused", np.uint8),
    ]
)
INTERVAL = np.dtype([(name, np.uint32) for name in ("picture", "data", "bits", "first", "mcus")])


@dataclass(frozen=True)
class JpegPlan:
    """`intervals`, `pictures` and `tables` are arrays of those types, `data` the entropy-coded bytes; `blocks` and
    `samples` the room needed (blocks of 64 coefficients; bytes), `most_blocks` the largest picture's; `left` the images
    (by place) that the CPU has to decode, and why."""

    intervals: npt.NDArray[Any]
    pictures: npt.NDArray[Any]
    tables: npt.NDArray[Any]
    data: npt.NDArray[np.uint8]
    blocks: int
    samples: int
    most_blocks: int
    left: dict[int, str]


def plan_jpegs(files: Sequence[bytes], windows: Sequence[Window]) -> JpegPlan:
    """For a batch: windows[i] of files[i] becomes image i."""
    intervals: list[tuple[int, ...]] = []
    pictures, tables = [], []
    data: list[bytes] = []
    at = blocks = samples = most = 0
    left: dict[int, str] = {}
    for image, (file, window) in enumerate(zip(files, windows, strict=True)):
        try:
            if file[:3] != b"\xff\xd8\xff":
                raise NotForTheKernelError("no JPEG")
            cut, inner = gs.crop_jpeg(file, window[:4])
            jpeg = _Jpeg(cut)
        except (NotForTheKernelError, gs.DecodeError) as error:
            left[image] = str(error)
            continue
        except (struct.error, IndexError, ValueError) as error:
            left[image] = f"a damaged header: {error}"
            continue
        first = 0
        for part in jpeg.intervals:
            mcus = min(jpeg.interval, jpeg.mcus - first)
            intervals.append((len(pictures), at, 8 * len(part), first, mcus))
            padded = -(-(len(part) + _SLACK) // 4) * 4
            data.append(part.ljust(padded, b"\0"))
            at += padded
            first += mcus
        intervals += [(len(pictures), 0, 0, 0, 0)] * (-len(intervals) % LANES)
        planes = []
        for h, v in jpeg.samplings:
            planes.append(samples)
            samples += 64 * jpeg.mcus * h * v
        planes += [0] * (3 - len(planes))
        (h, v), size = jpeg.samplings[0], (jpeg.width, jpeg.height)
        pictures.append(
            (
                *(image, blocks, planes, jpeg.mcus_per_row, jpeg.mcu_rows, *size, *inner[:2]),
                *(len(jpeg.samplings), h, v, int(window.mirrored), jpeg.table_numbers, 0),
            )
        )
        tables.append((jpeg.quant, jpeg.counts, jpeg.symbols))
        here = jpeg.mcus * sum(h * v for h, v in jpeg.samplings)
        most = max(most, here)
        blocks += here
    return JpegPlan(
        np.array(intervals, INTERVAL),
        np.array(pictures, PICTURE),
        np.array(tables, TABLES),
        np.frombuffer(b"".join(data), np.uint8),
        blocks,
        samples,
        most,
        left,
    )


class _Component(NamedTuple):
    number: int
    sampling: tuple[int, int]
    quant: int


class _Jpeg:
    """The segments of a baseline JPEG (ITU-T T.81, annex B) that has only what the kernels know."""

    def __init__(self, file: bytes) -> None:
        self.interval = 0
        self.counts = np.zeros((4, 16), np.uint8)
        self.symbols = np.zeros((4, 256), np.uint8)
        self._quants: dict[int, npt.NDArray[np.uint8]] = {}
        self._components: list[_Component] = []
        at = 2
        while True:
            marker, size = struct.unpack_from(">HH", file, at)
            body = file[at + 4 : at + 2 + size]
            at += 2 + size
            if marker == 0xFFDA:
                break
            self._segment(marker, body)
        if not self._components or not self.interval:
            raise NotForTheKernelError("no restart intervals")
        self._begin_scan(body)
        entropy = file[at : file.index(b"\xff\xd9", at)]
        self.intervals = [part.replace(b"\xff\0", b"\xff") for part in re.split(rb"\xff[\xd0-\xd7]", entropy)]
        if len(self.intervals) != -(-self.mcus // self.interval):
            raise NotForTheKernelError("another number of restart intervals than its header tells")

    def _segment(self, marker: int, body: bytes) -> None:
        if marker == 0xFFDB:
            for at in range(0, len(body), 65):
                if body[at] > 3:
                    raise NotForTheKernelError("quantisers of 16 bits")
                table = np.zeros(64, np.uint8)
                table[_NATURAL] = np.frombuffer(body, np.uint8, 64, at + 1)
                self._quants[body[at]] = table
        elif marker == 0xFFC4:
            self._huffman(body)
        elif marker == 0xFFDD:
            (self.interval,) = struct.unpack(">H", body)
        elif marker in (0xFFC0, 0xFFC1):
            depth, self.height, self.width, count = struct.unpack_from(">BHHB", body)
            found = [
                _Component(body[i], (body[i + 1] >> 4, body[i + 1] & 15), body[i + 2]) for i in range(6, len(body), 3)
            ]
            if depth != 8 or count not in (1, 3) or self.width <= 4 or [one.number for one in found] == list(b"RGB"):
                raise NotForTheKernelError("another kind of JPEG")
            self._components = found
        elif 0xFFC2 <= marker <= 0xFFCF:
            raise NotForTheKernelError("not sequential")
        elif marker == 0xFFEE and body[:5] == b"Adobe" and body[11] != 1:
            raise NotForTheKernelError("colours that are not YCbCr")

    def _huffman(self, body: bytes) -> None:
        at = 0
        while at < len(body):
            kind, number = body[at] >> 4, body[at] & 15
            if kind > 1 or number > 1:
                raise NotForTheKernelError("more tables than baseline has")
            counts = body[at + 1 : at + 17]
            code = 0
            for length, count in enumerate(counts, 1):
                code = 2 * code + count
                if code > 1 << length:
                    raise NotForTheKernelError("a Huffman table that is none")
            self.counts[2 * kind + number] = list(counts)
            symbols = np.frombuffer(body, np.uint8, sum(counts), at + 17)
            self.symbols[2 * kind + number, : len(symbols)] = symbols
            at += 17 + len(symbols)

    def _begin_scan(self, body: bytes) -> None:
        gray = len(self._components) == 1
        if body[-3:] != b"\0\x3f\0" or len(body) != 1 + 2 * len(self._components) + 3:
            raise NotForTheKernelError("a scan of a part of the coefficients")
        self.samplings = [(1, 1)] if gray else [one.sampling for one in self._components]
        h, v = self.samplings[0]
        if max(h, v) > 2 or self.samplings[1:] not in ([], [(1, 1), (1, 1)]) or body[0] != len(self._components):
            raise NotForTheKernelError("another sampling")
        self.mcus_per_row, self.mcu_rows = -(-self.width // (8 * h)), -(-self.height // (8 * v))
        self.mcus = self.mcus_per_row * self.mcu_rows
        self.quant = np.zeros((3, 64), np.uint8)
        self.table_numbers = [0, 0, 0]
        for i, one in enumerate(self._components):
            number, tables = body[1 + 2 * i : 3 + 2 * i]
            if number != one.number or tables >> 4 > 1 or tables & 15 > 1 or one.quant not in self._quants:
                raise NotForTheKernelError("a scan that does not fit its frame")
            self.quant[i] = self._quants[one.quant]
            self.table_numbers[i] = tables >> 4 | (tables & 15) << 1
