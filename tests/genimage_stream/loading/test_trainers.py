"""Inside Lightning's and accelerate's loops: every sample once, states in their checkpoints, two processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import genimage_stream as gs
from tests.fixtures import torchrun
from tests.fixtures.shards import make_dataset

# `heard` gets the keys of every training step.
LIGHTNING = """
import benchmarks.torchvision_operators
import pytorch_lightning as pl
import torch


class Detector(pl.LightningModule):
    def __init__(self, heard):
        super().__init__()
        self.heard = heard
        self.layer = torch.nn.Linear(3, 2)

    def training_step(self, batch, _):
        self.heard(batch.keys)
        loss = torch.nn.functional.cross_entropy(self.layer(batch.images.mean((2, 3))), batch.labels)
        self.log("loss", loss)  # which asks the batch how many samples it has
        return loss

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
import benchmarks.torchvision_operators
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
    (logged,) = fit.validate(model := detector(heard.append), make_loader(root, shuffle=False), verbose=False)
    with torch.no_grad():
        batch = next(iter(gs.Loader(gs.open_dataset(root), 60, crop=16, output="float32", shuffle=False)))
        expected = torch.nn.functional.cross_entropy(model.layer(batch.images.mean((2, 3))), batch.labels)
    assert logged["loss"] == pytest.approx(float(expected), rel=1e-4)  # batches weigh by their samples
    keys = gs.open_dataset(root).table(["key"])["key"].to_pylist()
    assert [key for batch in heard for key in batch] == keys


@pytest.mark.filterwarnings("ignore")
def test_lightning_goes_on_from_its_checkpoints(lightning: Any, root: Path, tmp_path: Path) -> None:
    """9 steps make an epoch. Inside one Lightning restores the loader's state, at its end only the epoch's number."""
    from pytorch_lightning.callbacks import ModelCheckpoint

    detector, trainer = lightning
    heard: list[list[str]] = []
    keep = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1)
    trainer(max_epochs=3, callbacks=[keep]).fit(detector(heard.append), make_loader(root))
    expected = straight(root, 3)
    assert heard == expected
    for step in (1, 4, 8, 9, 13, 18):
        heard.clear()
        again = trainer(max_epochs=3, enable_checkpointing=False)
        kept = tmp_path / f"step={step}.ckpt"
        again.fit(detector(heard.append), make_loader(root), ckpt_path=kept, weights_only=False)
        assert heard == expected[step:], step


def one_cycle(detector: Any) -> Any:
    """The model with a schedule that asks for the number of steps, before Lightning has loaded the checkpoint."""

    class OneCycle(detector):  # type: ignore[misc]
        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), 0.1)
            steps = self.trainer.estimated_stepping_batches
            rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=steps)
            return [optimizer], [{"scheduler": rate, "interval": "step"}]

    return OneCycle


@pytest.mark.filterwarnings("ignore")
def test_lightning_goes_on_after_estimated_stepping_batches(lightning: Any, root: Path, tmp_path: Path) -> None:
    """It sets the loaders up before the checkpoint is there; the epoch began anew."""
    from pytorch_lightning.callbacks import ModelCheckpoint

    detector, trainer = lightning
    heard: list[list[str]] = []
    keep = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1)
    trainer(max_epochs=3, callbacks=[keep, *places()]).fit(one_cycle(detector)(heard.append), make_loader(root))
    for step in (4, 9, 13):
        heard.clear()
        again = trainer(max_epochs=3, enable_checkpointing=False, callbacks=places())
        model = one_cycle(detector)(heard.append)
        again.fit(model, make_loader(root), ckpt_path=tmp_path / f"step={step}.ckpt", weights_only=False)
        assert heard == straight(root, 3)[step:], step


def places() -> list[Any]:
    """The callback, where the package's entry point has not given it to the trainer already."""
    from importlib.metadata import entry_points

    named = entry_points(group="pytorch_lightning.callbacks_factory")
    return [] if any(found.name == "genimage-stream" for found in named) else [gs.lightning_callback()]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("by", ["checkpoint", "the same trainer"])
@pytest.mark.parametrize("stop", [4, 13])
def test_lightning_goes_on_inside_an_epoch_that_max_steps_ended(
    lightning: Any, root: Path, tmp_path: Path, by: str, stop: int
) -> None:
    detector, trainer = lightning
    heard: list[list[str]] = []
    first = trainer(
        max_steps=stop, callbacks=places(), enable_checkpointing=by == "checkpoint", default_root_dir=tmp_path
    )
    loader = make_loader(root)
    first.fit(detector(heard.append), loader)
    assert heard == straight(root, 2)[:stop]
    if by == "checkpoint":
        first.save_checkpoint(tmp_path / "stopped.ckpt")
        again = trainer(max_steps=25, enable_checkpointing=False, callbacks=places())
        model = detector(heard.append)
        again.fit(model, make_loader(root), ckpt_path=tmp_path / "stopped.ckpt", weights_only=False)
    else:
        first.fit_loop.epoch_loop.max_steps = 25
        first.fit(detector(heard.append), loader)
    assert heard == straight(root, 3)[:25]


@pytest.mark.filterwarnings("ignore")
def test_the_shorter_of_two_loaders_repeats_nothing(lightning: Any, root: Path, tmp_path: Path) -> None:
    """Lightning's default for a dict of loaders, max_size_cycle, iterates it again; its epochs go on, also resumed."""
    from pytorch_lightning.callbacks import ModelCheckpoint

    detector, trainer = lightning

    class Two(detector):  # type: ignore[misc]
        def training_step(self, batch: Any, number: int) -> Any:
            shorter = batch["b"]
            self.heard((batch["a"].keys, shorter.epoch, shorter.step, shorter.keys, shorter.images.sum().item()))
            return super(detector, self).training_step(batch["a"], number) or self.layer.weight.sum()

    def loaders() -> dict[str, gs.Loader]:
        return {"a": make_loader(root), "b": gs.Loader(gs.open_dataset(root).first(16, per=()), 4, crop=16, seed=4)}

    heard: list[Any] = []
    keep = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1)
    trainer(max_epochs=4, callbacks=[keep, *places()]).fit(Two(heard.append), loaders())
    assert [keys for keys, *_ in heard] == straight(root, 4)
    seen = [entry[1:] for entry in heard]
    assert len({entry[:2] for entry in seen}) == len(seen) == 36
    assert [epoch for epoch, *_ in seen] == sorted(epoch for epoch, *_ in seen)
    for step in (5, 9):
        resumed: list[Any] = []
        again = trainer(max_epochs=4, enable_checkpointing=False, callbacks=places())
        again.fit(Two(resumed.append), loaders(), ckpt_path=tmp_path / f"step={step}.ckpt", weights_only=False)
        assert resumed == heard[step:], step


@pytest.mark.filterwarnings("ignore")
def test_a_place_that_was_loaded_is_never_turned_back(
    lightning: Any, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    detector, trainer = lightning
    loader = make_loader(root)
    running = [iter(loader) for _ in range(2)]
    list(running[0])
    for _ in range(4):
        next(running[1])
    state = loader.state_dict()
    heard: list[list[str]] = []
    loader = make_loader(root)
    loader.load_state_dict(state)
    trainer(max_epochs=2, enable_checkpointing=False).fit(detector(heard.append), loader)
    assert heard == straight(root, 3)[13:]
    loader.load_state_dict(state)
    caplog.clear()
    loader.set_epoch(0)
    assert caplog.messages == ["set_epoch(0) leaves the place that was loaded, inside epoch 1"]


@pytest.mark.filterwarnings("ignore")
def test_overfit_batches_gives_the_same_batches_or_is_refused(lightning: Any, root: Path) -> None:
    detector, trainer = lightning
    heard: list[list[str]] = []
    options = {"max_epochs": 3, "overfit_batches": 2, "enable_checkpointing": False}
    trainer(**options).fit(detector(heard.append), make_loader(root, shuffle=False))
    assert heard == 3 * heard[:2]
    with pytest.raises(ValueError, match="DataLoader"):
        trainer(**options).fit(detector(heard.append), make_loader(root))


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


def run_two(python: str, script: str, root: Path, folder: Path, launcher: list[str]) -> list[list[str]]:
    """What a script's two processes saw."""
    program = folder / "program.py"
    program.write_text(script)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [python, *launcher, str(program), str(root), str(folder)]
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [(folder / f"seen-{rank}").read_text().split() for rank in range(2)]


@pytest.mark.parametrize("trainer", ["lightning", "accelerate"])
def test_two_processes_share_every_epoch(warm: str, root: Path, tmp_path: Path, trainer: str) -> None:
    if trainer == "lightning":
        pytest.importorskip("pytorch_lightning")
        seen = run_two(warm, LIGHTNING + LIGHTNING_IN_TWO, root, tmp_path, [])
    else:
        pytest.importorskip("accelerate")
        seen = run_two(warm, ACCELERATE_IN_TWO, root, tmp_path, [torchrun.__file__, "--nproc-per-node=2"])
    keys = gs.open_dataset(root).table(["key"])["key"].to_pylist()
    assert sorted(seen[0] + seen[1]) == sorted(keys * 2)
    assert [len(part) for part in seen] == [60, 60]
