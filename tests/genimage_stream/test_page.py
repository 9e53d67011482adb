"""The page kit: thumbnails against Pillow, axes and numbers, markup that survives hostile text."""

from __future__ import annotations

import base64
import io
import math
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from genimage_stream import decode
from genimage_stream.page import charts, file, html, picture, scales


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (3, 200), (200, 3), (64, 64)])
def test_png_gives_the_pixels_back(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    ramp = np.linspace(0, 255, shape[0] * shape[1] * 3).reshape(*shape, 3).astype(np.uint8)
    for pixels in (rng.integers(0, 256, (*shape, 3), dtype=np.uint8), ramp, np.zeros((*shape, 3), np.uint8)):
        data = picture.encode_png(pixels)
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels)
        assert np.array_equal(decode(data), pixels)
        address = picture.data_address(data)
        assert base64.b64decode(address.partition(",")[2]) == data


@pytest.mark.parametrize(("width", "height"), [(500, 375), (128, 128), (333, 1000), (2000, 3), (104, 90)])
def test_shrinking_is_that_of_pillow(width: int, height: int) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (height, width, 3), dtype=np.uint8)
    small = picture.shrink(pixels, 104)
    assert max(small.shape) == min(104, max(width, height))
    wanted = np.asarray(Image.fromarray(pixels).resize(small.shape[1::-1], Image.Resampling.BOX))
    if max(width, height) / 104 == max(width, height) // 104:  # Pillow's box covers whole pixels only
        assert np.abs(small.astype(int) - wanted).max() <= 1
    assert abs(float(small.mean()) - float(pixels.mean())) < 1


def test_areas_that_cut_through_pixels() -> None:
    values = np.array([0, 6, 12], np.float32)
    assert picture.area_means(values, 2).tolist() == [2.0, 10.0]
    assert picture.area_means(values, 3).tolist() == [0.0, 6.0, 12.0]
    assert picture.area_means(values, 1).tolist() == [6.0]


def test_ticks_are_round_and_inside() -> None:
    for low, high in ((0, 1), (0, 7), (0, 12345), (3, 4), (0, 0.03), (5, 5)):
        ticks = scales.linear_ticks(low, high)
        assert all(low <= tick <= high for tick in ticks)
        assert 1 <= len(ticks) <= 11
    assert scales.linear_ticks(0, 100, 5) == [0, 20, 40, 60, 80, 100]
    assert scales.log_ticks(64, 2048, 6) == [64, 128, 256, 512, 1024, 2048]
    assert scales.log_ticks(1, 1e6, 4) == [1, 100, 10000, 1000000]
    assert scales.top([37]) == 40
    assert scales.top([]) == scales.top([0]) == 1


def test_numbers_in_words() -> None:
    assert [scales.number(v) for v in (0, 1234567, 12.34, 0.1234, 1234.5)] == [
        "0",
        "1,234,567",
        "12.3",
        "0.123",
        "1,234",
    ]
    assert scales.number(math.nan) == scales.percent(math.nan) == scales.NONE
    assert scales.percent(1.0) == "100 %"
    assert scales.percent(0.99999) == "> 99.9 %", "nearly all is not all"
    assert scales.percent(11 / 157_453) == "< 0.1 %"
    assert [scales.percent(share) for share in (0.0, 0.001, 0.999)] == ["0 %", "0.1 %", "99.9 %"]
    assert scales.percent(0.004, 0) == "< 1 %"
    assert scales.size(620e9) == "620 GB"
    assert scales.short(1500) == "1.5 k"


HOSTILE = '<script>alert("x")</script>&\x00\x1b\ud800'


def test_text_is_escaped_everywhere() -> None:
    section = html.Section(HOSTILE).add(
        html.table(HOSTILE, (HOSTILE, "b"), [(HOSTILE, html.Cell(HOSTILE, share=7))], numeric=[1], cards=True),
        html.figure(
            HOSTILE, charts.bars(HOSTILE, HOSTILE, [(HOSTILE, [1, 2])], ["real", "fake"]), legend=[("real", HOSTILE)]
        ),
        html.paragraph(HOSTILE),
        html.facts([(HOSTILE, HOSTILE)]),
        html.details(HOSTILE, ""),
    )
    document = html.page(HOSTILE, lead="", sections=[section], footer=HOSTILE)
    assert "<script" not in document
    assert "\x00" not in document
    assert "\x1b" not in document
    document.encode("utf-8")
    assert "--share:1.000" in document
    assert "http://" not in document
    assert "https://" not in document


def test_charts_are_well_formed_and_have_numbers_only() -> None:
    edges = np.geomspace(0.1, 10, 9)
    series = [charts.Series("real", "real", [0.0] * 8), charts.Series("fake", "fake", [0.125] * 8, dash=True)]
    drawn = [
        charts.bars("t", "d", [], ["real"]),
        charts.bars("t", "d", [("a", [0.0]), ("b" * 99, [0.5])], ["real"], low=0.5, high=1.0),
        charts.bars("t", "d", [("a", [0, 0])], ["real", "fake"]),
        charts.share_bars("t", "d", [("a", 1.0)], "fake"),
        charts.histogram("t", "d", edges, series, x_label="x", log=True),
        charts.lines("t", "d", [1], [charts.Series("a", "real", [3.0])], x_label="x"),
        charts.lines(
            "t", "d", [1, 2, 4], [charts.Series(str(i), "real", [0.0, 1.0, i]) for i in range(4)], x_label="x"
        ),
        charts.heat(
            "t", "d", np.eye(8, dtype=np.int64), edges, "real", x_label="x", y_label="y", marks=[(9, 9, "far right")]
        ),
    ]
    for svg in drawn:
        root = ElementTree.fromstring(svg)
        assert root.attrib["role"] == "img"
        assert root[0].tag == "title"
        assert root[1].tag == "desc"
        assert root.attrib["aria-labelledby"].split() == [root[0].attrib["id"], root[1].attrib["id"]]
        assert not re.search(r"nan|inf", svg.lower().replace("linf", ""))


def test_page_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    place = tmp_path / "a page.html"
    file.check_writable(str(place))
    assert list(tmp_path.iterdir()) == []
    file.write_page(str(place), "é")
    file.write_page(str(place), "other")
    assert place.read_text("utf-8") == "other"
    assert list(tmp_path.iterdir()) == [place]
    with pytest.raises(OSError, match="cannot be written"):
        file.write_page("/proc/page.html", "x")
    with pytest.raises(OSError, match="is a folder"):
        file.check_writable(str(tmp_path))
    with pytest.raises(OSError, match="no folder"):
        file.check_writable(str(tmp_path / "no/page.html"))
