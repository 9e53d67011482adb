"""benchmarks.crop_ready over two images: every variant is measured and has a row in the tables."""

from __future__ import annotations

import json
import sys
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from benchmarks import crop_ready
from tests.fixtures.jpegs import jpeg, photograph


def test_tables_and_plot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / "a.jpg").write_bytes(jpeg(300, 250))
    (images / "b.jpg").write_bytes(jpeg(300, 250, progressive=True))
    png = BytesIO()
    Image.fromarray(photograph(256, 256)).save(png, "PNG")
    (images / "c.png").write_bytes(png.getvalue())
    monkeypatch.setattr(crop_ready, "ROOM", tmp_path)
    monkeypatch.setattr(sys, "argv", ["crop_ready", str(images), "--rounds", "1"])
    crop_ready.main()
    report = json.loads((tmp_path / "results/crop_ready.json").read_text())
    assert set(report["results"]) == {"jpeg", "png 256"}
    widths = [row["what"]["interval_width"] for row in report["whole_jpegs"]]
    assert widths == [0, 32, 64, 128, 65535]
    assert all(row["libjpeg_us"] > 0 and row["auto_us"] > 0 for row in report["whole_jpegs"])
    text = (tmp_path / "results/crop-ready-table.md").read_text()
    for name in ("none", "32", "64", "128", "a row"):
        assert f"| interval_width {name} |" in text
    assert "### jpeg, whole images" in text
    assert "interval_width 64" in (tmp_path / "results/crop-ready.svg").read_text()


def test_files_that_stay_as_they_are_are_not_compared() -> None:
    arithmetic = jpeg(40, 40).replace(b"\xff\xc0", b"\xff\xc9", 1)
    assert crop_ready.measure_whole([arithmetic], 1) == []
