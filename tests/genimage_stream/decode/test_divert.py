"""JPEGs that a batch leaves to another decoder: their bytes, and what is decoded here all the same."""

from __future__ import annotations

import numpy as np
import pytest

import genimage_stream as gs
from tests.fixtures.jpegs import jpeg

CROP = 48


def damaged(data: bytes) -> bytes:
    """An undefined Huffman code in the middle of the picture: sound by its structure, not inside."""
    return data[: len(data) // 2] + b"\xff\x00" * 12 + data[len(data) // 2 + 24 :]


@pytest.mark.parametrize("divert", [0, 1, 2])
def test_left_to_another_decoder_and_decoded_here(divert: int) -> None:
    sound, progressive = jpeg(90, 70), jpeg(90, 70, progressive=True)
    source = [sound, damaged(sound), progressive]
    out = np.full((3, 3, CROP, CROP), 7, np.uint8)
    corners = np.array([[5, 20]] * 3, np.int32)
    decoder = gs.BatchDecoder(1)
    job = decoder.submit(source, out, crops=corners, divert=np.full(3, divert, np.uint8))
    job.wait()
    left = {one.index: (bytes(one.data), one.x, one.y) for one in job.diverted()}
    whole = {0: (sound, 5, 20), 1: (damaged(sound), 5, 20)}
    assert left == {0: {}, 1: whole, 2: {0: whole[0]}}[divert], "what is damaged inside is found only by decoding it"
    assert [error.index for error in job.errors()] == ([] if divert == 1 else [1])
    pixels = [gs.decode(data, crop=(5, 20, CROP, CROP)).transpose(2, 0, 1) for data in (sound, progressive)]
    assert np.array_equal(out[0], np.full_like(out[0], 7) if divert == 1 else pixels[0])
    assert np.array_equal(out[2], pixels[1]), "hardware does not take it"
