"""The benchmark of transforms: every way does the work, and what is compared step by step gives the same pixels."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import genimage_stream as gs
from benchmarks import readme, transforms
from benchmarks.harness import Measurement
from benchmarks.peers import Work
from benchmarks.transformed import FASTEST, PUBLISHED, TRANSFORMS, comparison, steps
from genimage_stream import transforms as T  # noqa: N812
from tests.fixtures.genimage import make_tree
from tests.fixtures.jpegs import jpeg

for package in ("albumentations", "torchvision", "simplejpeg", "scipy", "cv2"):
    pytest.importorskip(package, reason=f"{package} is not installed: scripts/setup.sh --tests")

#: Steps whose pixels the library's function has in another layout or, being random itself, other ones.
OTHER_PIXELS = {"GaussianNoise(0.1)", "RandomErasing(1.0)"}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("transforms")
    make_tree(folder / "tree", generators=["biggan"], count=3)
    pack = [sys.executable, "-m", "shard_tools", "pack", str(folder / "tree"), str(folder / "shards")]
    subprocess.run(pack, check=True, capture_output=True)
    return folder / "shards"


@pytest.mark.parametrize("name", TRANSFORMS)
def test_ours_gives_the_size_that_is_asked_of_all(name: str, shards: Path) -> None:
    dataset = gs.open_dataset(shards).select(splits=["train"])
    tars = tuple(str(path) for path in shards.glob("*/train/*.tar"))
    work = Work(str(shards), tars, len(dataset), "", workers=1, transform=name)
    ((images, labels),) = import_module("benchmarks.transformed.ours").open_stream(work)()
    assert tuple(images.shape) == (len(dataset), 3, *[TRANSFORMS[name].side] * 2)
    assert len(labels) == len(dataset)


def test_drct_and_genimage_are_the_parts_that_are_named() -> None:
    assert [type(step).__name__ for step in steps("drct")] == ["RandomApply", "RandomApply", "RandomCrop"]
    assert not any(isinstance(step, T.Map) for step in steps("genimage-resnet50"))


@pytest.mark.parametrize(
    ("name", "way"),
    [(name, way) for name, one in TRANSFORMS.items() for way in one.peers if way in (PUBLISHED, FASTEST)],
)
def test_peers_transform_images_of_any_size(name: str, way: str) -> None:
    peer: Any = import_module(way)
    run = peer.drct() if (name, way) == ("drct", PUBLISHED) else peer.chain(name)
    side = TRANSFORMS[name].side
    images = [run(jpeg(*size)) for size in ((300, 280), (64, 90), (260, 400))]
    assert all(tuple(image.shape) == (3, side, side) for image in images)
    arguments = [name] if way == FASTEST else []
    batch, labels = peer.collate([(image, 1) for image in images], *arguments)
    assert str(batch.dtype) == "torch.float32"
    assert labels.tolist() == [1, 1, 1]


def test_a_step_and_its_library_give_the_same_pixels() -> None:
    from benchmarks.transformed import single

    pictures = single.photographs(1)
    for case in single.CASES:
        ours, theirs = single.ours_and_theirs(case, pictures[case.size])
        if case.name not in OTHER_PIXELS:
            assert np.array_equal(ours()[0], np.asarray(theirs()[0])), case.name


def test_tables_and_results_of_a_tiny_run(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("nvidia.dali", reason="DALI is not installed: scripts/setup.sh --tests")
    from benchmarks.transformed import single

    monkeypatch.setattr(transforms, "packed", lambda: shards)
    monkeypatch.setattr(comparison, "packed", lambda: shards)
    monkeypatch.setattr(transforms, "ROOM", tmp_path)
    monkeypatch.setattr(transforms, "ROOT", tmp_path)
    monkeypatch.setattr(transforms, "STEP_ROUNDS", 1)
    monkeypatch.setattr(transforms, "PHOTOGRAPHS", 1)
    monkeypatch.setattr(single, "CASES", single.CASES[:1])
    words = ["transforms", "--rounds", "1", "--threads", "1", "--transforms", "random-resized-crop"]
    monkeypatch.setattr(sys, "argv", words)
    assert transforms.main() == 0
    report = json.loads((tmp_path / "results/transforms.json").read_text())
    assert set(report["transforms"]["random-resized-crop"]["loaders"]) == {
        "genimage-stream",
        "as published",
        "DALI, CPU",
    }
    assert set(report["steps"]) == {"JPEG((30, 100))"}
    printed = capsys.readouterr().out
    assert "| RandomResizedCrop(224), flip |" in printed
    assert "| `JPEG((30, 100))` | 256x256 |" in printed
    monkeypatch.setattr(readme, "RESULTS", tmp_path / "results")
    assert report["tables"]["steps"] in readme.transforms()


def test_one_transform_is_not_recorded_for_all(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, said in (
        (["--record", "--no-steps"], "for all transforms"),
        (["--transforms", "npr"], "none of cnnspot"),
    ):
        monkeypatch.setattr(sys, "argv", ["transforms", *words])
        with pytest.raises(SystemExit):
            transforms.main()
        assert said in capsys.readouterr().err


def test_rows_of_recipes_leave_room_for_ways_that_are_missing() -> None:
    ours, theirs = Measurement("a", 10, (1.0, 1.0)), Measurement("b", 10, (6.0, 6.0))
    rows = transforms.recipe_rows({"safe": {"genimage-stream": ours, "as published": theirs}, "rine": {}})
    assert "| SAFE | 10 | 2 | 6.00 |  |  |  |  |" in rows
    assert "| RINE |  |" in rows
