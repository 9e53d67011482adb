"""`genimage-stream evaluate`: a whole table from the command line, killed and resumed, on several ranks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest
import torch

import genimage_stream as gs
from genimage_stream import transforms as T  # noqa: N812
from genimage_stream.transforms.degradations import steps_of_degradation
from tests.fixtures import torchrun
from tests.fixtures.shards import make_dataset, make_samples, write_dataset

DETECTOR = """
import os, time
import torch
from torch import nn

class Detector(nn.Module):
    def __init__(self, outputs=1):
        super().__init__()
        self.scale = nn.Parameter(torch.full((outputs,), float(os.environ.get("SCALE", "1"))))

    def forward(self, images):
        assert images.dtype == torch.float32 and images.ndim == 4 and not self.training
        time.sleep(float(os.environ.get("PAUSE", "0")))
        return images.mean((1, 2, 3))[:, None] * self.scale

def load():
    return Detector()

def two():
    return Detector(2)

def three():
    return Detector(3)

def probability():
    return lambda images: images.mean((1, 2, 3)).sigmoid()

def blind():
    return lambda images: images.mean((1, 2, 3)) * float("nan")

def squeezed():
    return lambda images: images.mean((1, 2, 3), keepdim=True).squeeze()

def failing():
    return lambda images: images @ torch.ones(3, 3)

def empty():
    return None

def broken():
    raise KeyError("config")
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("dataset"), 8)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "detector.py").write_text(DETECTOR)
    return tmp_path


def command(root: Path, *options: str, model: str = "detector:load", python: str = sys.executable) -> list[str]:
    return [
        python,
        "-m",
        "genimage_stream",
        "evaluate",
        str(root),
        "--model",
        model,
        "--device",
        "cpu",
        *options,
    ]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", **more}


def run(here: Path, root: Path, *options: str, **given: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(root, *options, **given), cwd=here, env=environment(), capture_output=True, text=True, check=False
    )


def spread(python: str, ranks: int) -> list[str]:
    return [python, torchrun.__file__, "--nproc-per-node", str(ranks)]


def expected(root: Path, degradation: str = "none", size: int = 224) -> dict[str, float]:
    """By the library, one image after the other."""
    dataset = gs.open_dataset(root).select(splits=["val"])
    mean = np.array([0.485, 0.456, 0.406])
    std = np.array([0.229, 0.224, 0.225])
    found = {}
    for sample in dataset:
        pixels = T.apply(sample.data, [*steps_of_degradation(degradation), T.CenterCrop(size)])
        logit = ((pixels / 255 - mean) / std).mean()
        found[sample.key] = 1 / (1 + np.exp(-logit))
    return found


def saved(folder: Path, degradation: str = "none") -> dict[str, float]:
    rows = pq.read_table(folder / "scores.parquet").to_pylist()
    return {row["key"]: row["score"] for row in rows if row["degradation"] == degradation}


def test_scores_tables_and_page(here: Path, root: Path, warm: str) -> None:
    result = run(here, root, "--degrade", "jpeg:30,blur:1,jpeg:70", "--out", "out")
    assert result.returncode == 0, result.stderr
    out = here / "out"
    assert sorted(path.name for path in out.iterdir()) == sorted(
        ["evaluation.json", "index.html", "scores.parquet", "table.csv", "table.json", "table.md"]
    )
    for name in ("none", "jpeg:30", "blur:1"):
        found, wanted = saved(out, name), expected(root, name)
        assert found.keys() == wanted.keys()
        assert max(abs(found[key] - wanted[key]) for key in found) < 1e-5
    table = json.loads((out / "table.json").read_text())
    assert table["by"] == ["subset", "degradation"]
    assert len(table["rows"]) == 3 * 4
    assert (out / "table.md").read_text() == result.stdout
    page = (out / "index.html").read_text()
    for words in ("By subset", "By degradation", "Most wrong", "How it was evaluated", "<svg", "data:image/png"):
        assert words in page
    # Once more: nothing is scored again, the results are the same.
    again = run(here, root, "--degrade", "jpeg:30,blur:1,jpeg:70", "--out", "out", "--json", python=warm)
    assert again.returncode == 0, again.stderr
    assert "done" not in again.stderr
    assert json.loads(again.stdout) == table
    # Other weights, another transform: not to be mixed with these.
    other = run(here, root, "--out", "out", "--transform", "univfd", python=warm)
    assert other.returncode == 2
    assert "holds the scores of another evaluation (" in other.stderr


def test_weights_classes_and_views(here: Path, root: Path, warm: str) -> None:
    torch.save({"model": {"scale": torch.tensor([0.0, 2.0])}}, here / "weights.pt")
    options = ["--weights", "weights.pt", "--out", "two", "--views", "five"]
    result = run(here, root, *options, model="detector.py:two", python=warm)
    assert result.returncode == 0, result.stderr
    dataset = gs.open_dataset(root).select(splits=["val"])
    loader = gs.Loader(dataset, 64, transform=[T.CenterCrop(224)], views="five", shuffle=False, output="float32")
    (batch,) = loader
    wanted = (2 * batch.images.double().mean((2, 3, 4))).sigmoid().mean(1)
    found = saved(here / "two")
    assert np.allclose([found[key] for key in batch.keys], wanted.numpy(), atol=1e-6)
    options = ["--outputs", "probability", "--out", "three"]
    result = run(here, root, *options, model="detector:probability", python=warm)
    assert result.returncode == 0, result.stderr
    wanted_by_key = expected(root)
    assert all(abs(score - wanted_by_key[key]) < 1e-5 for key, score in saved(here / "three").items())


def here_and_now(
    here: Path, root: Path, monkeypatch: pytest.MonkeyPatch, *options: str, model: str = "detector:load"
) -> Any:
    """The command in this process, which is faster, by the command's own function."""
    from click.testing import CliRunner

    from genimage_stream.cli import app

    monkeypatch.chdir(here)
    monkeypatch.syspath_prepend(str(here))
    monkeypatch.delitem(sys.modules, "detector", raising=False)
    return CliRunner().invoke(app, command(root, *options, model=model)[3:])


def logit(pixels: npt.NDArray[Any]) -> float:
    """The detector's, of (..., 3) uint8."""
    return float(((pixels / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])).mean())


def test_all_windows(here: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a recipe with a crop, averaged by sample; several calls of the model where windows are many."""
    options = ["--transform", "safe", "--views", "all", "--stride", "100", "--batch-size", "7", "--out", "all"]
    result = here_and_now(here, root, monkeypatch, *options)
    assert result.exit_code == 0, result.output
    dataset = gs.open_dataset(root).select(splits=["val"])
    loader = gs.Loader(dataset, 64, transform="safe:eval", views="all", stride=100, shuffle=False, output="float32")
    (batch,) = loader
    p = batch.images.double().mean((1, 2, 3)).sigmoid()
    found = saved(here / "all")
    for place, key in enumerate(batch.keys):
        assert abs(found[key] - p[batch.view_of == place].mean().item()) < 1e-5
    other = here_and_now(here, root, monkeypatch, *[word if word != "100" else "90" for word in options])
    assert "holds the scores of another evaluation (stride differ)" in other.output


def test_several_datasets(here: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are evaluated as one; other ones in the same folder are an error that names the one that is missing."""
    samples = make_samples(2)
    for name, some in (("x", samples[::2]), ("y", samples[1::2])):
        write_dataset(here / name, some)
    assert here_and_now(here, here / "x", monkeypatch, str(here / "y")).exit_code == 0
    assert len(saved(here / "evaluation")) == 12
    assert here_and_now(here, here / "y", monkeypatch, str(here / "x")).exit_code == 0
    other = here_and_now(here, here / "x", monkeypatch, str(root)).output
    assert f"datasets that were joined then, {here / 'y'} with 6 samples is missing, {root} was none of them" in other


@pytest.mark.timeout(300)
def test_whole_images_and_fewer_left_than_ranks(
    here: Path, root: Path, monkeypatch: pytest.MonkeyPatch, warm: str
) -> None:
    """All in one process; then two samples are lost, and three ranks score these again."""
    options = ["--views", "whole", "--out", "whole", "--batch-size", "5"]
    result = here_and_now(here, root, monkeypatch, *options)
    assert result.exit_code == 0, result.output
    wanted = {
        sample.key: 1 / (1 + np.exp(-logit(sample.image))) for sample in gs.open_dataset(root).select(splits=["val"])
    }
    found = saved(here / "whole")
    assert found.keys() == wanted.keys()
    assert max(abs(found[key] - wanted[key]) for key in found) < 1e-5
    page = (here / "whole/index.html").read_text()
    assert "whole" in page
    file = here / "whole/scores.parquet"
    table = pq.read_table(file)
    pq.write_table(table.slice(2), file)
    rest = subprocess.run(
        [*spread(warm, 3), *command(root, *options)[1:]],
        cwd=here,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert rest.returncode == 0, rest.stderr
    assert saved(here / "whole") == pytest.approx(found, abs=1e-6)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("detector", [], "--model detector: module:function is needed"),
        ("nothing:load", [], "nothing cannot be imported (ModuleNotFoundError"),
        ("nothing.py:load", [], "nothing.py cannot be imported"),
        ("detector:nothing", [], "detector has no function nothing"),
        ("detector:broken", [], "broken() failed (KeyError: 'config')"),
        ("detector:empty", [], "it returned NoneType, which cannot be called"),
        ("detector:three", [], "the model gave a tensor (48, 3) for 48 images; a tensor (48,), (48, 1) or (48, 2)"),
        ("detector:blind", [], "and 47 other images of its batch: the model's score is nan"),
        ("detector:failing", [], "the model failed on images 48 x 3 x 224 x 224 (RuntimeError"),
        ("detector:load", ["--outputs", "probability"], "no probability of 0 to 1"),
        ("detector:load", ["--outputs", "score"], "--outputs score: choose one of logits, probability"),
        ("detector:load", ["--weights", "nowhere.pt"], "--weights nowhere.pt: No such file"),
        ("detector:load", ["--weights", "detector.py"], "--weights detector.py cannot be loaded"),
        ("detector:probability", ["--weights", "detector.py"], "--weights needs a torch.nn.Module"),
        ("detector:load", ["--weights", "other.pt"], "--weights other.pt do not fit the model"),
        ("detector:load", ["--degrade", "jpeg:0"], "degradation 'jpeg:0' is not of the form"),
        ("detector:load", ["--degrade", "jpeg"], "degradation 'jpeg' is not of the form jpeg:QUALITY, e.g. jpeg:65\n"),
        ("detector:load", ["--weights", "whole.pt"], "--weights whole.pt holds more than tensors"),
        ("detector:load", ["--device", "nope"], "--device nope: torch knows no such device"),
        ("detector:load", ["--transform", "univfd:train"], "--transform univfd:train: models are evaluated with"),
        ("detector:load", ["--out", "detector.py"], "--out detector.py is no folder"),
        ("detector:load", ["--on-error", "stop"], "--on-error stop: choose one of raise, skip"),
        ("detector:load", ["--views", "six"], "views='six' is not one of"),
        ("detector:load", ["--stride", "9"], "--stride 9 has no effect without --views all"),
        ("detector:load", ["--views", "all", "--stride", "0"], "stride=0: at least 1"),
        ("detector:load", ["--transform", "nothing"], "there is no recipe 'nothing'"),
        ("detector:load", ["--split", "tset"], "--split tset: choose one of train, val, all"),
        ("detector:load", ["--generators", "dalle"], "has no generator 'dalle'"),
        ("detector:load", ["--batch-size", "0"], "batch_size=0: at least 1"),
    ],
)
def test_what_goes_wrong_is_a_sentence(
    here: Path, root: Path, model: str, options: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"other": torch.ones(1)}, here / "other.pt")
    torch.save(torch.nn.Linear(1, 1), here / "whole.pt")
    result = here_and_now(here, root, monkeypatch, "--out", "out", *options, model=model)
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert "Traceback" not in result.output


def test_a_run_that_scored_nothing_holds_no_folder(here: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same --out takes another try; and scores of other parameters are not mixed with what is there."""
    failed = here_and_now(here, root, monkeypatch, "--outputs", "probability", "--out", "out")
    assert "no probability of 0 to 1; of logits it is made with --outputs logits" in failed.output
    torch.save({f"module.{name}": torch.tensor([2.0]) for name in ("scale",)}, here / "ddp.pt")
    result = here_and_now(here, root, monkeypatch, "--weights", "ddp.pt", "--out", "out")
    assert result.exit_code == 0, result.output
    assert here_and_now(here, root, monkeypatch, "--out", "load").exit_code == 0
    monkeypatch.setenv("SCALE", "3")
    other = here_and_now(here, root, monkeypatch, "--out", "load")
    assert "holds the scores of another evaluation (parameters differ)" in other.output


def test_scores_of_earlier_degradations_stay(here: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for degrade in ("jpeg:50", "blur:1"):
        result = here_and_now(here, root, monkeypatch, "--degrade", degrade, "--out", "out")
        assert result.exit_code == 0, result.output
    assert "jpeg:50" not in result.stdout  # the table is of what was asked for
    assert all(len(saved(here / "out", name)) == 48 for name in ("none", "blur:1", "jpeg:50"))
    again = here_and_now(here, root, monkeypatch, "--degrade", "jpeg:50", "--out", "out")
    assert "done" not in again.stderr
    assert "jpeg:50" in again.stdout


def test_squeezed_scores_of_one_image(here: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = here_and_now(here, root, monkeypatch, "--batch-size", "47", "--out", "out", model="detector:squeezed")
    assert result.exit_code == 0, result.output
    assert len(saved(here / "out")) == 48


def test_damaged_images_are_skipped_and_said(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = make_samples(2)
    samples[-1] = replace(samples[-1], data=samples[-1].data[:99])
    root = write_dataset(here / "dataset", samples)
    failed = here_and_now(here, root, monkeypatch, "--out", "out")
    assert failed.exit_code == 2
    assert samples[-1].key in failed.output
    for _ in range(2):  # the second time only the damaged image is tried
        result = here_and_now(here, root, monkeypatch, "--out", "out", "--on-error", "skip")
        assert result.exit_code == 0, result.output
        assert "Made of a part: 1 of 12 samples have no score." in result.output
    assert "Made of a part" in (here / "out/index.html").read_text()
    assert len(saved(here / "out")) == 11


def test_a_page_without_reals(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AP is not defined then, and has neither table nor curve."""
    fakes = [one for one in make_samples(2, splits=["val"]) if one.label == "fake"]
    root = write_dataset(here / "dataset", fakes)
    result = here_and_now(here, root, monkeypatch, "--out", "out", "--degrade", "jpeg:50,jpeg:70")
    assert result.exit_code == 0, result.output
    page = (here / "out/index.html").read_text()
    assert "Accuracy of each subset under each degradation" in page
    assert "AP of each subset" not in page


def test_a_rank_that_ended_is_a_sentence(here: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from genimage_stream.evaluation import command as command_module
    from genimage_stream.evaluation.ranks import LostRankError

    def lost(*_: Any) -> None:
        raise LostRankError("one of them has probably ended")

    monkeypatch.setattr(command_module, "evaluate", lost)
    result = here_and_now(here, root, monkeypatch, "--out", "out")
    assert result.exit_code == 2
    assert result.output == "genimage-stream: one of them has probably ended\n"


@pytest.mark.timeout(600)
def test_killed_and_resumed_on_several_ranks(here: Path, root: Path, warm: str) -> None:
    options = ["--degrade", "jpeg:50", "--out", "out", "--batch-size", "1"]
    first = subprocess.Popen(command(root, *options), cwd=here, env=environment(PAUSE="0.05"))
    deadline = time.monotonic() + 200
    parts = here / "out/.parts"
    while not list(parts.glob("*.parquet")):
        assert time.monotonic() < deadline, "no part was written"
        assert first.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.wait()
    kept = sum(pq.read_table(path).num_rows for path in parts.glob("*.parquet"))
    assert 0 < kept < 2 * 48
    rest = subprocess.run(
        [*spread(warm, 2), *command(root, *options)[1:]],
        cwd=here,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert rest.returncode == 0, rest.stderr
    for name in ("none", "jpeg:50"):
        found, wanted = saved(here / "out", name), expected(root, name)
        assert found.keys() == wanted.keys()
        assert max(abs(found[key] - wanted[key]) for key in found) < 1e-5
