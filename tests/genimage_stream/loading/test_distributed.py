"""Real processes under torch.distributed (gloo): killed at a random moment and resumed on another number of them."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import genimage_stream as gs
from tests.fixtures.shards import make_dataset

# A training loop that keeps what it saw and a checkpoint of each step that all ranks have finished.
WORKER = """
import json, os, sys, time
import torch
import torch.distributed as dist
import genimage_stream as gs

root, folder, rank, world_size, attempt, pause = sys.argv[1:]
with open(f"{folder}/pid-{attempt}-{rank}.new", "w") as file:
    file.write(str(os.getpid()))
os.replace(f"{folder}/pid-{attempt}-{rank}.new", f"{folder}/pid-{attempt}-{rank}")
meeting = f"file://{folder}/meet-{attempt}"
dist.init_process_group("gloo", init_method=meeting, rank=int(rank), world_size=int(world_size))
loader = gs.Loader(gs.open_dataset(root), 5, crop=16, seed=7, threads=1, mix={"label": "equal"})
checkpoint = f"{folder}/checkpoint.json"
if os.path.exists(checkpoint):
    loader.load_state_dict(json.load(open(checkpoint))["state"])
log = open(f"{folder}/seen-{attempt}-{rank}", "w")
for step, batch in enumerate(loader):
    log.write(json.dumps([step, batch.keys, [int(image.sum()) for image in batch.images]]) + "\\n")
    log.flush()
    count = torch.tensor(len(batch))
    dist.all_reduce(count)  # every rank runs the same number of steps, or this hangs
    if rank == "0":
        with open(checkpoint + ".new", "w") as file:
            json.dump({"state": loader.state_dict(), "attempt": int(attempt), "step": step}, file)
        os.replace(checkpoint + ".new", checkpoint)
    dist.barrier()
    time.sleep(float(pause))
dist.destroy_process_group()
"""


def start(
    python: str, root: Path, folder: Path, world_size: int, attempt: int, pause: float
) -> list[subprocess.Popen[bytes]]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            [
                python,
                "-c",
                WORKER,
                str(root),
                str(folder),
                str(rank),
                str(world_size),
                str(attempt),
                str(pause),
            ],
            env=environment,
        )
        for rank in range(world_size)
    ]


def checkpoint(folder: Path) -> dict[str, int]:
    try:
        found: dict[str, int] = json.loads((folder / "checkpoint.json").read_text())
    except FileNotFoundError:
        return {"attempt": -1, "step": -1}
    return found


def test_killed_and_resumed_on_other_numbers_of_processes(warm: str, tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "dataset", 13)  # 156 samples: no world size below divides the steps evenly
    folder = tmp_path / "run"
    folder.mkdir()
    chance = random.Random(0)
    done_steps = {}
    for attempt, world_size in enumerate((2, 3)):
        workers = start(warm, root, folder, world_size, attempt, pause=0.05)
        try:
            target = chance.randint(1, 4)
            deadline = time.monotonic() + 250
            while not (checkpoint(folder)["attempt"] == attempt and checkpoint(folder)["step"] >= target):
                assert time.monotonic() < deadline, "the workers do not get on"
                assert all(worker.poll() is None for worker in workers), "a worker ended early"
                time.sleep(0.01)
            # By their own numbers: a worker has ended when what was started in its place has.
            pids = [int((folder / f"pid-{attempt}-{rank}").read_text()) for rank in range(world_size)]
            chance.shuffle(pids)
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for worker in workers:
                worker.wait(250)
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
        done_steps[attempt] = checkpoint(folder)["step"]
    last = start(warm, root, folder, 1, 2, pause=0)
    assert [worker.wait(timeout=250) for worker in last] == [0]
    done_steps[2] = 10**6

    seen = []
    for attempt, world_size in ((0, 2), (1, 3), (2, 1)):
        for rank in range(world_size):
            for line in (folder / f"seen-{attempt}-{rank}").read_text().splitlines():
                if not line.endswith("]"):
                    continue  # cut off by the kill, so beyond the checkpoint
                step, keys, sums = json.loads(line)
                if step <= done_steps[attempt]:
                    seen += zip(keys, sums, strict=True)
    straight = gs.Loader(gs.open_dataset(root), 5, crop=16, seed=7, mix={"label": "equal"})
    expected = [
        (key, int(image.sum())) for batch in straight for key, image in zip(batch.keys, batch.images, strict=True)
    ]
    assert sorted(seen) == sorted(expected)
    assert len(seen) == 156
