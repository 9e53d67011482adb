"""Images of which the decoder is given parts: enough, not enough, damaged, and never the rest."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

import genimage_stream as gs
from genimage_stream.decode import PartialBytes
from genimage_stream.decode.crop_ready import png_segments, recode
from tests.genimage_stream.decode.test_partial_reads import WINDOW, photo, window


def parts_of(data: bytes, top: int, calls: list[int], whole: bytes | Exception | None = None) -> PartialBytes:
    found = png_segments(data)
    assert found is not None
    rows, first, *ends = found
    positions = [first, *ends]
    begin, end = positions[top // rows], positions[(top + WINDOW - 1) // rows + 1]

    def get() -> bytes:
        calls.append(top)
        if isinstance(whole, Exception):
            raise whole
        return data if whole is None else whole

    return PartialBytes(len(data), data[: first + 12], memoryview(data)[begin:end], begin, get)


def decode(source: list[Any], corners: list[tuple[int, int]]) -> tuple[np.ndarray, list[gs.ImageError]]:
    out = np.full((len(source), 3, WINDOW, WINDOW), 7, np.uint8)
    return out, gs.decode_batch(source, out, crops=np.array(corners, np.int32), threads=2)


def test_parts_are_enough() -> None:
    original, pixels = photo(430, 1200)
    data = recode(original)[0]
    assert data is not None
    chance, calls = random.Random(1), list[int]()
    corners = [(chance.randint(0, 330), chance.randint(0, 1100)) for _ in range(30)]
    found, errors = decode([parts_of(data, y, calls) for _, y in corners], corners)
    assert errors == []
    assert np.array_equal(found, np.stack([window(pixels, corner) for corner in corners]))
    assert calls == []


def test_parts_that_are_not_enough() -> None:
    original, pixels = photo(430, 1200)
    data = recode(original)[0]
    assert data is not None
    calls: list[int] = []
    good = parts_of(data, 600, calls)
    other_bands = parts_of(data, 200, calls)._replace(head=good.head)
    no_body = good._replace(body=b"", at=0)
    damaged = bytearray(good.body)
    damaged[len(damaged) // 2] ^= 1
    short = good._replace(head=good.head[:100])
    tiny = good._replace(head=good.head[:10])
    jpeg_head = good._replace(head=b"\xff\xd8\xff" + good.head[3:])
    source = [good, other_bands, no_body, good._replace(body=bytes(damaged)), short, tiny, jpeg_head, data]
    found, errors = decode(source, [(5, 600)] * len(source))
    assert errors == []
    assert np.array_equal(found, np.stack([window(pixels, (5, 600))] * len(source)))
    assert len(calls) == 6, "all but the first, and the last, which is whole"


def test_when_the_whole_does_not_come() -> None:
    data = recode(photo(430, 1200)[0])[0]
    assert data is not None
    calls: list[int] = []
    source = [
        parts_of(data, 600, calls, OSError("the line is dead"))._replace(body=b"", at=0),
        parts_of(data, 600, calls, data[:-9])._replace(body=b"", at=0),
        parts_of(data, 600, calls),
    ]
    out, errors = decode(source, [(5, 600)] * 3)
    assert [(error.index, error.kind) for error in errors] == [(0, "io"), (1, "io")]
    assert "the line is dead" in errors[0].message
    assert not out[:2].any()
    assert out[2].any()


@pytest.mark.parametrize(
    "change",
    [{"size": 10}, {"at": 10**9}, {"at": -1}, {"size": -1}, {"body": "text"}, {"head": None}],
    ids=str,
)
def test_senseless_parts(change: dict[str, Any]) -> None:
    data = recode(photo(430, 600)[0])[0]
    assert data is not None
    with pytest.raises((ValueError, TypeError, RuntimeError)):
        decode([parts_of(data, 0, [])._replace(**change)], [(0, 0)])


def test_a_limit_on_bytes_comes_before_memory() -> None:
    data = recode(photo(430, 1200)[0])[0]
    assert data is not None
    parts = parts_of(data, 600, [])._replace(size=1 << 40)
    out = np.zeros((1, 3, WINDOW, WINDOW), np.uint8)
    (error,) = gs.decode_batch([parts], out, crops=np.zeros((1, 2), np.int32))
    assert error.kind == "decode"
    assert "limit" in error.message
