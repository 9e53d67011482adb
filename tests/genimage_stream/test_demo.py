"""What `genimage-stream demo` is made of; the whole runs in tests/test_without_torch.py, and here with PyTorch."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import genimage_stream as gs
from genimage_stream.cli import app
from genimage_stream.demo import detector, run
from genimage_stream.demo.pictures import fake, real
from tests.fixtures.shards import make_dataset


def test_reals_are_jpegs_and_fakes_pngs() -> None:
    rng = np.random.default_rng(0)
    drawn = Image.open(io.BytesIO(real(rng))), Image.open(io.BytesIO(fake(128, rng)))
    assert [image.format for image in drawn] == ["JPEG", "PNG"]
    assert drawn[1].size == (128, 128)
    assert all(np.asarray(image).std() > 10 for image in drawn)


def test_the_detector_trains_and_is_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detector, "EPOCHS", 1)
    dataset = gs.open_dataset(make_dataset(tmp_path, 4))
    model, seen, _ = detector.train(dataset)
    assert seen == len(dataset)
    assert detector.score(model, dataset).startswith("| subset |")


def test_what_an_interrupted_demo_left_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(root: Path) -> Iterator[str]:
        (root / "ADM").mkdir(parents=True)
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "draw_tree", interrupted)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run.run(tmp_path / "demo")
    assert [path.name for path in (tmp_path / "demo").iterdir()] == ["GenImage.unfinished"]


def test_a_folder_of_others_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    result = CliRunner().invoke(app, ["demo", "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "holds other files" in result.output
