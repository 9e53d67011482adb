"""What a JPEG's header says."""

from __future__ import annotations

import pytest

import genimage_stream as gs
from tests.genimage_stream.decode.jpeg.jpeg_files import encode, encode_sampled, picture


@pytest.mark.parametrize("quality", range(1, 101))
def test_the_quality_of_ijg_tables_is_found_exactly(quality: int) -> None:
    assert gs.inspect(encode(picture(16, 16), quality=quality)).jpeg_quality == quality


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_mode_size_and_kind(mode: str, progressive: bool) -> None:
    facts = gs.inspect(encode(picture(33, 21), mode, quality=75, progressive=progressive))
    chroma = "420" if mode == "RGB" else "other"
    assert facts == gs.ImageFacts("jpeg", mode, 33, 21, 8, 75, progressive, chroma)


@pytest.mark.parametrize(
    ("sampling", "chroma"),
    [("4:4:4", "444"), ("4:2:2", "422"), ("4:2:0", "420"), ("4:1:1", "other"), ("4:4:0", "other")],
)
def test_chroma_is_named_by_the_sampling_factors(sampling: str, chroma: str) -> None:
    assert gs.inspect(encode_sampled(picture(40, 40), sampling)).chroma == chroma


def test_the_header_must_be_whole() -> None:
    data = encode_sampled(picture(40, 40), "4:2:0")
    frame = data.index(b"\xff\xc0")
    for end in range(3, data.index(b"\xff\xda")):
        if end < frame + 19:
            with pytest.raises(gs.DecodeError):
                gs.inspect(data[:end])
    with pytest.raises(gs.DecodeError, match="zero"):
        gs.inspect(data[: frame + 5] + b"\x00\x00" + data[frame + 7 :])
    with pytest.raises(gs.DecodeError, match="end marker"):
        gs.inspect(data[:2] + data[-2:])
