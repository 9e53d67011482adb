"""Inside Lightning's and accelerate's loops: every sample once, states in their checkpoints, two processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import genimage_stream as gs
from tests.fixtures.shards import make_dataset

# `heard` gets the keys of every training step.
LIGHTNING = """
import tests.fixtures.torchvision_operators
import pytorch_lightning as pl
import torch


class Detector(pl.LightningModule):
    def __init__(self, heard):
        super().__init__()
        self.heard = heard
        self.layer = torch.nn.Linear(3, 2)

    def training_step(self, batch, _):
        self.heard(batch.keys)
        return torch.nn.functional.cross_entropy(self.layer(batch.images.mean((2, 3))), batch.labels)

    validation_step = training_step

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def trainer(**options):
    return pl.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        num_sanity_val_steps=0, **options
    )
"""

LIGHTNING_IN_TWO = """
import sys
import genimage_stream as gs

if __name__ == "__main__":
    root, folder = sys.argv[1:]
    loader = gs.Loader(gs.open_dataset(root), 5, crop=16, output="float32", threads=1)
    fit = trainer(devices=2, strategy="ddp", max_epochs=2, default_root_dir=folder, enable_checkpointing=False)
    with open(f"{folder}/seen-{fit.global_rank}", "w") as log:
        fit.fit(Detector(lambda keys: print(*keys, file=log)), loader)
"""

ACCELERATE_IN_TWO = """
import sys
import tests.fixtures.torchvision_operators
import accelerate
import torch
import genimage_stream as gs

root, folder = sys.argv[1:]
accelerator = accelerate.Accelerator(cpu=True)
model = torch.nn.Linear(3, 2)
loader = gs.Loader(gs.open_dataset(root), 5, crop=16, output="float32", threads=1)
model, optimizer, prepared = accelerator.prepare(model, torch.optim.SGD(model.parameters(), 0.1), loader)
assert prepared is loader
with open(f"{folder}/seen-{accelerator.process_index}", "w") as log:
    for epoch in range(2):
        for batch in prepared:
            batch = batch.to(accelerator.device)
            print(*batch.keys, file=log)
            accelerator.backward(torch.nn.functional.cross_entropy(model(batch.images.mean((2, 3))), batch.labels))
            optimizer.step()
            optimizer.zero_grad()
accelerator.end_training()
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("dataset"), 5)  # 60 samples


def make_loader(root: Path, **options: Any) -> gs.Loader:
    return gs.Loader(gs.open_dataset(root), 7, crop=16, seed=4, output="float32", threads=2, **options)


def straight(root: Path, epochs: int) -> list[list[str]]:
    loader = make_loader(root)
    return [batch.keys for _ in range(epochs) for batch in loader]


@pytest.fixture
def lightning() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The model and the trainer of LIGHTNING."""
    pytest.importorskip("pytorch_lightning")
    names: dict[str, Any] = {}
    exec(LIGHTNING, names)
    return names["Detector"], names["trainer"]


@pytest.mark.filterwarnings("ignore")
def test_lightning_trains_and_validates(lightning: Any, root: Path, tmp_path: Path) -> None:
    detector, trainer = lightning
    heard: list[list[str]] = []
    fit = trainer(max_epochs=2, default_root_dir=tmp_path, enable_checkpointing=False)
    fit.fit(detector(heard.append), make_loader(root))
    assert heard == straight(root, 2)
    heard.clear()
    fit.validate(detector(heard.append), make_loader(root, shuffle=False), verbose=False)
    keys = gs.open_dataset(root).table(["key"])["key"].to_pylist()
    assert [key for batch in heard for key in batch] == keys


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("step", [1, 4, 8, 9, 13, 18])
def test_lightning_goes_on_from_its_checkpoints(lightning: Any, root: Path, tmp_path: Path, step: int) -> None:
    """9 steps make an epoch. Inside one Lightning restores the loader's state, at its end only the epoch's number."""
    from pytorch_lightning.callbacks import ModelCheckpoint

    detector, trainer = lightning
    heard: list[list[str]] = []
    keep = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1)
    trainer(max_epochs=3, callbacks=[keep]).fit(detector(heard.append), make_loader(root))
    assert heard == straight(root, 3)
    heard.clear()
    again = trainer(max_epochs=3, enable_checkpointing=False)
    again.fit(detector(heard.append), make_loader(root), ckpt_path=tmp_path / f"step={step}.ckpt", weights_only=False)
    assert heard == straight(root, 3)[step:]


@pytest.mark.parametrize("steps", [0, 1, 4, 9, 13])
def test_accelerate_keeps_the_state(root: Path, tmp_path: Path, steps: int) -> None:
    accelerate = pytest.importorskip("accelerate")
    heard: list[list[str]] = []

    def run(load: bool, until: int | None) -> None:
        accelerator = accelerate.Accelerator(cpu=True)
        loader = accelerator.prepare(make_loader(root))
        accelerator.register_for_checkpointing(loader)
        if load:
            accelerator.load_state(str(tmp_path))
        while loader.epoch < 3 and len(heard) != until:
            for batch in loader:
                heard.append(batch.keys)
                if len(heard) == until:
                    break
        if not load:
            accelerator.save_state(str(tmp_path))

    run(load=False, until=steps)
    run(load=True, until=None)
    assert heard == straight(root, 3)


def run_two(script: str, root: Path, folder: Path, launcher: list[str]) -> list[list[str]]:
    """What a script's two processes saw."""
    program = folder / "program.py"
    program.write_text(script)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *launcher, str(program), str(root), str(folder)]
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [(folder / f"seen-{rank}").read_text().split() for rank in range(2)]


@pytest.mark.parametrize("trainer", ["lightning", "accelerate"])
def test_two_processes_share_every_epoch(root: Path, tmp_path: Path, trainer: str) -> None:
    if trainer == "lightning":
        pytest.importorskip("pytorch_lightning")
        seen = run_two(LIGHTNING + LIGHTNING_IN_TWO, root, tmp_path, [])
    else:
        pytest.importorskip("accelerate")
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
        launcher += ["--local-addr", "127.0.0.1"]  # the host's own name may not resolve
        seen = run_two(ACCELERATE_IN_TWO, root, tmp_path, launcher)
    keys = gs.open_dataset(root).table(["key"])["key"].to_pylist()
    assert sorted(seen[0] + seen[1]) == sorted(keys * 2)
    assert [len(part) for part in seen] == [60, 60]
