"""Input of the kernel in png_bands.cu: bands of crop-ready PNGs, and where each of their rows begins.

The form is described in cpp/bands/png_band_table.hpp. What may be wrong with the parts of a file that
the crop needs is found here, by their checksums; the kernel only sees to it that it reads and writes no memory that is
not its own.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import genimage_stream as gs
from experiments.gpu_decode.plan import NotForTheKernelError, Window

LANES = 32  # rows of a band at most: one for each lane of a warp
_CHANNELS = {"L": 1, "RGB": 3, "LA": 2, "RGBA": 4}  # by mode, of those whose pixels are whole bytes
_LITERALS = 1  # the coding of bands
_LONGEST = 12  # bits of a literal's code
_SLACK = 16  # bytes behind each band, which the kernel may read
_ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)  # RFC 1951, 3.2.7

BAND = np.dtype(
    [
        ("data", np.uint32),
        ("bits", np.uint32),
        ("first", np.uint32),
        ("lengths", np.uint32),
        ("image", np.uint32),
        ("top", np.int32),
        ("rows", np.uint16),
        ("pixels", np.uint16),
        ("lead", np.uint16),
        ("skip", np.uint16),
        ("channels", np.uint16),
        ("mirrored", np.uint16),
    ]
)
ROW = np.dtype([("filter", np.uint32), ("bit", np.uint32), ("left", np.uint32)])


@dataclass(frozen=True)
class PngPlan:
    """`bands` and `rows` are arrays of BAND and ROW, `lengths` 257 code lengths for each band, `data` the compressed
    bands; `left` the images (by place) that the CPU has to decode, and why."""

    bands: npt.NDArray[Any]
    rows: npt.NDArray[Any]
    lengths: npt.NDArray[np.uint8]
    data: npt.NDArray[np.uint8]
    left: dict[int, str]


def plan_pngs(files: Sequence[bytes], windows: Sequence[Window]) -> PngPlan:
    """For a batch: windows[i] of files[i] becomes image i."""
    bands: list[tuple[int, ...]] = []
    rows: list[tuple[int, int, int]] = []
    lengths: list[bytes] = []
    data: list[bytes] = []
    at = 0
    left: dict[int, str] = {}
    for image, (file, window) in enumerate(zip(files, windows, strict=True)):
        try:
            found = list(_Image(file).bands(window))
        except NotForTheKernelError as error:
            left[image] = str(error)
            continue
        except (struct.error, IndexError, ValueError) as error:
            left[image] = f"damaged: {error}"
            continue
        for band in found:
            bands.append(
                (at, 8 * len(band.data), len(rows), 257 * len(lengths), image, band.top, len(band.rows), *band.shape)
            )
            rows += band.rows
            lengths.append(band.lengths)
            padded = -(-(len(band.data) + _SLACK) // 4) * 4
            data.append(band.data.ljust(padded, b"\0"))
            at += padded
    return PngPlan(
        np.array(bands, BAND),
        np.array(rows, ROW),
        np.frombuffer(b"".join(lengths), np.uint8),
        np.frombuffer(b"".join(data), np.uint8),
        left,
    )


class _Band(NamedTuple):
    """`shape`: pixels, lead, skip, channels, mirrored."""

    data: bytes
    lengths: bytes
    top: int
    rows: list[tuple[int, int, int]]
    shape: tuple[int, int, int, int, int]


class _Image:
    def __init__(self, file: bytes) -> None:
        try:
            facts = gs.inspect(file)
        except gs.DecodeError as error:
            raise NotForTheKernelError(f"no PNG, or a damaged one: {error}") from error
        if facts.format != "png":
            raise NotForTheKernelError("no PNG")
        if facts.bit_depth != 8 or facts.mode not in _CHANNELS or facts.progressive:
            raise NotForTheKernelError("pixels that are no whole bytes, or interlaced")
        self._file = file
        self._width, self._height, self._channels = facts.width, facts.height, _CHANNELS[facts.mode]
        self._chunks = self._walk()
        table = next((file[at + 8 : at + 8 + size] for at, size, kind in self._chunks if kind == b"gsBD"), None)
        if table is None:
            raise NotForTheKernelError("not crop-ready")
        self._read_table(table)

    def _walk(self) -> list[tuple[int, int, bytes]]:
        """(position, bytes of data, type) of every chunk."""
        found, at = [], 8
        while at + 12 <= len(self._file):
            size, kind = struct.unpack_from(">I4s", self._file, at)
            found.append((at, size, kind))
            at += 12 + size
            if kind == b"IEND":
                return found
        raise NotForTheKernelError("ends early")

    def _read_table(self, table: bytes) -> None:
        version, coding, self._band_rows, segment_rows, self._tile, count = struct.unpack_from(">BBHHHI", table)
        if version != 1 or zlib.crc32(table[:-4], zlib.crc32(self._file[16:29])) != struct.unpack(">I", table[-4:])[0]:
            raise NotForTheKernelError("an unsound table of bands")
        if coding != _LITERALS or segment_rows != 1 or self._band_rows > LANES:
            raise NotForTheKernelError("bands of another form")
        idat = [(at, size) for at, size, kind in self._chunks if kind == b"IDAT"]
        self._entries = [struct.unpack_from(">II", table, 12 + 8 * i) for i in range(count)]
        if [size for _, size in idat] != [size for size, _ in self._entries]:
            raise NotForTheKernelError("chunks that do not fit the table of bands")
        self._places = [at for at, _ in idat]
        self._records = table[12 + 8 * count : -4]

    def bands(self, window: Window) -> Any:
        """Those that cover the window, as _Band."""
        right, bottom = window.x + window.width, window.y + window.height
        tiles = -(-self._width // self._tile) if self._tile else 1
        tile = window.x // self._tile if self._tile else 0
        lead = int(tile > 0)
        begin = tile * self._tile - lead  # the first column of which anything is known
        record_bytes = 2 + self._band_rows * (2 * tiles + (tiles - 1) * self._channels)
        shape = (right - begin, lead, window.x - begin - lead, self._channels, int(window.mirrored))
        for index in range(window.y // self._band_rows, (bottom - 1) // self._band_rows + 1):
            data = self._data(index)
            top = index * self._band_rows
            all_rows = min(self._band_rows, self._height - top)
            record = self._records[index * record_bytes :]
            (bit,) = struct.unpack_from(">H", record)
            lengths = _code_lengths(data, bit)
            sizes = np.frombuffer(record, ">u2", all_rows * tiles, 2).reshape(all_rows, tiles).astype(np.int64)
            starts = bit + np.concatenate([[0], np.cumsum(sizes)[:-1]]).reshape(all_rows, tiles)
            if starts[-1, -1] + sizes[-1, -1] > 8 * len(data):
                raise NotForTheKernelError("rows that do not fit their band")
            rows = []
            for y in range(min(all_rows, bottom - top)):
                known = 0
                if lead:
                    at = 2 + 2 * all_rows * tiles + (y * (tiles - 1) + tile - 1) * self._channels
                    known = int.from_bytes(record[at : at + self._channels], "little")
                rows.append((int(starts[y, 0]), int(starts[y, tile]) if tile else 0, known))
            yield _Band(data, lengths, top - window.y, rows, shape)

    def _data(self, index: int) -> bytes:
        """A band's compressed bytes, whose checksum holds."""
        at, (size, crc) = self._places[index], self._entries[index]
        chunk = self._file[at + 4 : at + 8 + size]
        if zlib.crc32(chunk) != crc:
            raise NotForTheKernelError("a damaged band")
        data = chunk[4:]
        return data[2 if index == 0 else 0 : len(data) - (4 if index + 1 == len(self._entries) else 0)]


def _code_lengths(data: bytes, header_bits: int) -> bytes:
    """The 257 lengths that the header of a dynamic block of literals gives (RFC 1951, 3.2.7)."""
    bits, at = int.from_bytes(data[: header_bits // 8 + 1], "little"), 1

    def take(count: int) -> int:
        nonlocal at
        at += count
        return bits >> at - count & (1 << count) - 1

    if take(2) != 2 or take(5) or take(5):
        raise NotForTheKernelError("a block of another kind")
    meta = [0] * 19
    for symbol in _ORDER[: take(4) + 4]:
        meta[symbol] = take(3)
    codes = _codes(meta)
    lengths: list[int] = []
    while len(lengths) < 258 and at < header_bits:
        code = next((key for key in ((n, bits >> at & (1 << n) - 1) for n in range(1, 8)) if key in codes), (1, 0))
        take(code[0])
        symbol = codes.get(code, 0)
        if symbol < 16:
            lengths.append(symbol)
        elif symbol == 16:
            lengths += lengths[-1:] * (3 + take(2))
        else:
            lengths += [0] * (3 + take(3) if symbol == 17 else 11 + take(7))
    if at != header_bits or len(lengths) != 258 or max(lengths[:257]) > _LONGEST:
        raise NotForTheKernelError("a block's header that does not fit the table of bands")
    return bytes(lengths[:257])


def _codes(lengths: Sequence[int]) -> dict[tuple[int, int], int]:
    """Symbols by (length, code as it is in the stream, first bit lowest)."""
    found: dict[tuple[int, int], int] = {}
    code = 0
    for length in range(1, 8):
        code <<= 1
        for symbol in (symbol for symbol, of in enumerate(lengths) if of == length):
            found[length, int(f"{code:0{length}b}"[::-1], 2)] = symbol
            code += 1
    return found
