"""The demo's detector on a few stand-ins: every sample is scored once, and fakes can be looked at as JPEGs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import genimage_stream as gs
from demo.detector import AS_REALS, STEPS, control, evaluate, train
from genimage_stream.transforms import JPEG
from stand_ins.tree import write_subset


def test_training_and_the_control_for_the_file_format(tmp_path: Path) -> None:
    for name in ("biggan", "adm"):
        write_subset(tmp_path / "tree", name, {"train": 4, "val": 3})
    command = [sys.executable, "-m", "shard_tools", "pack", str(tmp_path / "tree"), str(tmp_path / "shards")]
    subprocess.run(command, check=True, capture_output=True)
    dataset = gs.open_dataset(tmp_path / "shards")
    model, training = train(dataset, epochs=1)
    assert training.images == len(dataset.select(splits=["train"]))
    assert [(score.generator, score.samples) for score in evaluate(model, dataset)] == [
        (name, len(dataset.select(generators=[name], splits=["val"]))) for name in dataset.generators
    ]
    assert all(0 <= share <= 1 for share in control(model, dataset))
    assert any(isinstance(step, JPEG) for step in STEPS), "or the detector learns the file format"
    assert isinstance(AS_REALS[0], JPEG)
    assert AS_REALS[1:] == STEPS
