"""Training on several hosts, each with its own network and disk, from an S3 server on another one.

Minutes of a small machine, so not part of `make test`: `make test-hosts` runs it, as root.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import genimage_stream as gs
from tests.fixtures.hosts import Host, hosts
from tests.fixtures.s3 import BUCKET, S3Server, binary
from tests.fixtures.shards import make_dataset

ROOT = Path(__file__).parents[2]
TRAIN = Path(__file__).with_name("train.py")
RANKS = 2  # a host

#: Puts the folder argv[4] on the server at argv[3], once it answers.
UPLOAD = """
import socket, sys, time
from pathlib import Path
from tests.fixtures.s3 import S3Server

for attempt in range(600):
    try:
        socket.create_connection((sys.argv[3], 9000), 1).close()
        break
    except OSError:
        time.sleep(0.2)
S3Server(sys.argv[1], sys.argv[2]).upload(Path(sys.argv[4]), "set")
"""

pytestmark = pytest.mark.skipif(
    "GENIMAGE_STREAM_HOSTS" not in os.environ, reason="takes minutes: make test-hosts runs it"
)


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[Host], S3Server, Path]]:
    """Three hosts for training, and an S3 server on a fourth; the dataset that it serves."""
    program, folder = binary(), tmp_path_factory.mktemp("hosts")
    root = make_dataset(folder / "dataset", 16, per_shard=8)
    with hosts(4, folder) as found:
        *training, storing = found
        meta = f"sqlite3://{storing.folder}/meta.db"
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        storing.run(
            program, "format", "--storage", "file", "--bucket", f"{storing.folder}/data/", meta, BUCKET, **quiet
        )
        command = [program, "gateway", "--no-banner", "--no-usage-report", "--cache-dir", f"{storing.folder}/cache"]
        keys = {"MINIO_ROOT_USER": "gateway-user", "MINIO_ROOT_PASSWORD": "gateway-password"}
        server = storing.start(*command, meta, f"{storing.address}:9000", env=keys, **quiet)
        try:
            s3 = S3Server(f"s3://{BUCKET}", f"http://{storing.address}:9000")
            storing.run(sys.executable, "-c", UPLOAD, s3.url, s3.endpoint, storing.address, str(root), cwd=ROOT)
            yield training, s3, root
        finally:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def torchrun(on: list[Host], s3: S3Server, run: Path, pause: float) -> list[subprocess.Popen[bytes]]:
    started = []
    for number, host in enumerate(on):
        folder = host.folder / run
        folder.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "torch.distributed.run", f"--nnodes={len(on)}", f"--nproc-per-node={RANKS}"]
        command += [f"--node-rank={number}", f"--master-addr={on[0].address}", "--master-port=29500"]
        command += [str(TRAIN), f"{s3.url}/set", json.dumps(s3.options), str(folder), str(pause)]
        environment = {"GLOO_SOCKET_IFNAME": "eth0", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        log = (folder / "torchrun.log").open("wb")
        started.append(host.start(*command, env=environment, stdout=log, stderr=log))
    return started


def given(on: list[Host], run: Path, steps: int | None = None) -> list[str]:
    """The keys of all ranks, of the first steps."""
    keys: list[str] = []
    for host in on:
        for log in (host.folder / run).glob("rank-*.jsonl"):
            for line in log.read_text().splitlines():
                _, step, batch = json.loads(line)
                keys += batch if steps is None or step < steps else []
    return keys


def logs(on: list[Host], run: Path) -> str:
    return "\n".join((host.folder / run / "torchrun.log").read_text()[-2000:] for host in on)


def test_a_host_is_lost_in_mid_epoch(everything: tuple[list[Host], S3Server, Path]) -> None:
    training, s3, root = everything
    expected = Counter(gs.open_dataset(root).table(["key"])["key"].to_pylist())
    first = Path("first")
    running = torchrun(training[:2], s3, first, 0.3)
    after = [host.folder / first / "after.json" for host in training[:2]]
    deadline = time.monotonic() + 240
    while not after[0].exists() or json.loads(after[0].read_text())["steps"] < 3:
        assert time.monotonic() < deadline, logs(training[:2], first)
        assert all(process.poll() is None for process in running), logs(training[:2], first)
        time.sleep(0.05)
    os.killpg(running[1].pid, signal.SIGKILL)  # as when the power fails
    running[1].wait()
    os.killpg(running[0].pid, signal.SIGKILL)
    running[0].wait()
    state = json.loads(after[0].read_text())
    steps = state.pop("steps")
    assert state["shares"] == 2
    seen = given(training[:2], first, steps)
    for count in (1, 3):
        run = Path(f"then-{count}")
        for host in training[:count]:
            (host.folder / run).mkdir()
            if (host.folder / first).exists():
                shutil.copytree(host.folder / first / "cache", host.folder / run / "cache")
            (host.folder / run / "state.json").write_text(json.dumps(state))
        for process in torchrun(training[:count], s3, run, 0):
            assert process.wait(timeout=240) == 0, logs(training[:count], run)
        assert Counter(seen + given(training[:count], run)) == expected


READ = """
import json, sys
import genimage_stream as gs
dataset = gs.open_dataset(sys.argv[1], cache_dir=sys.argv[3], storage_options=json.loads(sys.argv[2]))
for shuffle in ("nodes", "full"):
    print(*[key for batch in gs.Loader(dataset, 4, crop=16, shuffle=shuffle) for key in batch.keys])
"""


def test_a_slow_and_lossy_link(everything: tuple[list[Host], S3Server, Path]) -> None:
    training, s3, root = everything
    expected = sorted(gs.open_dataset(root).table(["key"])["key"].to_pylist())
    host = training[2]
    host.degrade("delay", "40ms", "20ms", "loss", "5%", "rate", "8mbit")
    try:
        cache = str(host.folder / "slow-cache")
        command = [sys.executable, "-c", READ, f"{s3.url}/set", json.dumps(s3.options), cache]
        process = host.start(*command, stdout=subprocess.PIPE, cwd=ROOT)
        out = process.communicate(timeout=300)[0].decode()
        assert process.returncode == 0
    finally:
        host.degrade()
    assert [sorted(line.split()) for line in out.splitlines()] == [expected, expected]
