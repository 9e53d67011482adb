"""Scores over real processes of torch.distributed (gloo), with loaders and with what goes wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import genimage_stream as gs
from tests.fixtures.shards import make_dataset

# Scores everything by a rule on the keys and writes the table, or the error, that this rank has in the end.
WORKER = """
import hashlib, json, os, signal, sys
import numpy as np
import torch.distributed as dist
import genimage_stream as gs

root, folder, rank, world_size, fault = sys.argv[1:]
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=int(rank), world_size=int(world_size))
dataset = gs.open_dataset(root)
if fault == "selection" and rank == "1":
    dataset = dataset.select(labels=["fake"])
if fault.startswith("whole"):
    loader = gs.Loader(dataset, 5, views="whole", threads=1)
else:
    loader = gs.Loader(dataset, 4, crop=16, shuffle=True, seed=5, threads=1)
if fault.startswith("whole at"):
    loader.load_state_dict(json.loads(fault.partition(" at ")[2]))
scores = gs.Scores(dataset)
def score(key, name):
    return int(hashlib.sha256((name + key).encode()).hexdigest()[:6], 16) / 0xFFFFFF
for batch in loader:
    if fault == "skip" and rank == "1" and batch.step == 1:
        continue
    for name in ("none", "jpeg:65") if fault != "degradation" or rank == "0" else ("none",):
        scores.add(batch, np.array([score(key, name) for key in batch.keys]), degradation=name)
    if fault == "whole killed" and rank == "1" and batch.step == 1:
        os.kill(os.getpid(), signal.SIGKILL)
if fault == "twice" and rank == "0":
    missing = np.flatnonzero(np.isnan(scores.of()))[:2]
    scores.add(missing, np.full(len(missing), 0.5))
try:
    gathered = scores.gather()
    assert gathered is scores and gathered.gather() is gathered
    told = [json.loads(gathered.table(degradation=name).json()) for name in ("none", "jpeg:65")]
except Exception as error:
    told = f"{type(error).__name__}: {error}"
with open(f"{folder}/told-{rank}", "w") as file:
    json.dump(told, file)
if fault != "whole killed":
    dist.destroy_process_group()
"""


def run(python: str, root: Path, folder: Path, world_size: int, fault: str = "") -> list[object]:
    folder.mkdir()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [python, "-c", WORKER, str(root), str(folder)]
    ranks = [
        subprocess.Popen([*command, str(rank), str(world_size), fault], env=environment) for rank in range(world_size)
    ]
    ended = [rank.wait(timeout=250) for rank in ranks]
    assert ended == [0, -signal.SIGKILL if fault == "whole killed" else 0, 0][:world_size]
    return [json.loads(path.read_text()) for path in sorted(folder.glob("told-*"))]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("dataset"), 3)  # 36 samples: 3 ranks of 4 leave some empty at the end


@pytest.mark.parametrize(("world_size", "loader"), [(1, ""), (2, "whole"), (3, "")])
def test_every_rank_has_the_table_of_one_process(
    warm: str, root: Path, tmp_path: Path, world_size: int, loader: str
) -> None:
    import hashlib

    dataset = gs.open_dataset(root)
    keys = dataset.table(["key"])["key"].to_pylist()
    alone = gs.Scores(dataset)
    for name in ("none", "jpeg:65"):
        p = [int(hashlib.sha256((name + key).encode()).hexdigest()[:6], 16) / 0xFFFFFF for key in keys]
        alone.add(np.arange(len(dataset)), p, degradation=name)
    expected = [json.loads(alone.table(degradation=name).json()) for name in ("none", "jpeg:65")]
    assert run(warm, root, tmp_path / "run", world_size, loader) == [expected] * world_size


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("skip", r"^ValueError: \w+, \w+, \w+ and 1 more samples: no score. Score the whole loader on every rank"),
        ("twice", r"^ValueError: \w+, \w+: scored by several ranks. A sampler that pads"),
        ("degradation", "samples: no score for jpeg:65"),
        ("selection", "^ValueError: the ranks have scores of different datasets or selections"),
    ],
)
def test_every_rank_names_what_is_wrong(warm: str, root: Path, tmp_path: Path, fault: str, message: str) -> None:
    import re

    told = run(warm, root, tmp_path / "run", 2, fault)
    assert len(told) == 2
    assert told[0] == told[1]
    assert re.search(message, str(told[0])), told[0]


def test_a_run_of_whole_images_that_was_killed(warm: str, root: Path, tmp_path: Path) -> None:
    """The rank that is left says so; the state after two steps of two ranks goes on with three, and what was scored
    before is what these miss."""
    (told,) = run(warm, root, tmp_path / "killed", 2, "whole killed")
    assert "cannot be gathered, one of them has probably ended" in str(told)
    dataset = gs.open_dataset(root)
    ranks = [gs.Loader(dataset, 5, views="whole", rank=rank, world_size=2) for rank in range(2)]
    taken = [iter(one) for one in ranks]
    before = [next(one).rows.tolist() for _ in range(2) for one in taken]
    told = run(warm, root, tmp_path / "rest", 3, f"whole at {json.dumps(ranks[0].state_dict())}")
    rows = sorted(row for part in before for row in part)
    assert len(rows) > 3
    keys = dataset.table(["key"])["key"].to_pylist()
    named = ", ".join(keys[row] for row in rows[:3])
    assert (
        told
        == [
            f"ValueError: {named} and {len(rows) - 3} more samples: no score. Score the whole loader on every rank, "
            "or gather(partial=True) for tables that say what is missing"
        ]
        * 3
    )
