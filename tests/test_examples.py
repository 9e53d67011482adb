"""examples/ on a small set: the trainers' scripts go on where they were stopped, and the notebook runs.

train_ddp.py, evaluate_matrix.py and slurm.sh run with docs/how-do-i.md, in test_how_do_i.py.
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch

from tests.fixtures.shards import make_dataset

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("shards"), 6, generators=("sd14",))


def run(monkeypatch: pytest.MonkeyPatch, name: str, *arguments: object) -> None:
    """Run an example as `python examples/NAME ...` would, in this process."""
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    monkeypatch.syspath_prepend(str(EXAMPLES))
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def test_lightning_goes_on_inside_an_epoch(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pytorch_lightning")

    def train(folder: str, epochs: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        options = ("--batch-size", 2, "--save-every", 3)
        run(monkeypatch, "train_lightning.py", shards, "--out", tmp_path / folder, "--epochs", epochs, *options)
        weights: dict[str, torch.Tensor] = torch.load(tmp_path / folder / "last.ckpt", weights_only=False)["state_dict"]
        return weights

    whole = train("whole", 2)
    train("parts", 1)  # whose last checkpoint is that of step 3, of 5 steps an epoch
    parts = train("parts", 2)
    for name, weight in whole.items():
        torch.testing.assert_close(parts[name], weight)


def test_accelerate_goes_on_inside_an_epoch(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("accelerate")
    from accelerate.state import AcceleratorState
    from safetensors.torch import load_file

    def train(folder: str, *more: object) -> dict[str, torch.Tensor]:
        AcceleratorState._reset_state(reset_partial_state=True)
        options = ("--batch-size", 2, "--save-every", 100, "--epochs", 2, *more)
        run(monkeypatch, "train_accelerate.py", shards, "--out", tmp_path / folder, *options)
        return load_file(tmp_path / folder / "checkpoint/model.safetensors")

    whole = train("whole")
    stopped = train("parts", "--max-steps", 4)  # of 6 steps an epoch
    parts = train("parts")
    for name, weight in whole.items():
        torch.testing.assert_close(parts[name], weight)
    assert any(not torch.equal(stopped[name], weight) for name, weight in whole.items())


def test_notebook_has_no_outputs_and_runs(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = json.loads((EXAMPLES / "explore.ipynb").read_text())["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
    pytest.importorskip("pandas")
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("GENIMAGE_SHARDS", str(shards))
    monkeypatch.setenv("PYTHONPATH", str(EXAMPLES.parent), prepend=":")
    book = nbformat.read(EXAMPLES / "explore.ipynb", 4)
    nbclient.NotebookClient(book, timeout=280, kernel_name="python3").execute()
    shown = [output for cell in book.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in shown) == 4
