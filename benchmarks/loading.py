"""The loader beside other loaders on the same shards, and the loader at the size of the whole of GenImage.

    python -m benchmarks.loading DST [--rounds 7] [--crop-ready DST2] [--write]

Throughput: peers take turns, an epoch each (see `harness` and `peers`): 224 pixel windows in normalised float32 batches
of 64. Scale: an index of 2,681,167 rows, made of DST's own rows over and over, so that every row leads to a real image:
time to the first batch, time to go on in the middle of an epoch, the interpreter's time per batch, memory over epochs.
Every figure of a start is taken in a process of its own, imports not counted.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.peers import Work
from benchmarks.peers.client import PeerError, PeerProcess

PEERS = ("ours", "ours_crop_ready", "webdataset_pillow", "webdataset_opencv", "dali", "dali_crop")
ROWS = 2_681_167
REPEATS = 5


def throughput(
    work: Work, names: tuple[str, ...], rounds: int
) -> tuple[dict[str, harness.Measurement], dict[str, str]]:
    """Epochs of every peer that can be opened, in turns. Those that cannot are named with their reason."""
    missing: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        contestants = []
        for name in names:
            own = Work(**{**vars(work), "scratch": f"{work.scratch}/{name}"})
            try:
                peer = stack.enter_context(PeerProcess(name, own))
            except PeerError as error:
                missing[name] = str(error)
                continue
            contestants.append(harness.Contestant(peer.about["title"], peer.epoch, work.images))
        return harness.measure(contestants, rounds=rounds), missing


def make_large(dataset: Path, folder: Path, rows: int) -> Path:
    """A dataset of `rows` rows over the shards of another; keys and hashes are as long and as distinct as real ones."""
    import hashlib

    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from genimage_stream import schema

    folder.mkdir(parents=True)
    for entry in dataset.iterdir():
        if entry.is_dir():
            (folder / entry.name).symlink_to(entry.resolve())
    table = pq.read_table(dataset / schema.INDEX_FILE)
    table = table.take(pa.array(np.sort(np.arange(rows) % len(table))))
    for name in ("key", "sha256", "source"):
        words = [f"{word}_{i:07d}" for i, word in enumerate(table[name].to_pylist())]
        if name == "sha256":
            words = [hashlib.sha256(word.encode()).hexdigest() for word in words]
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(words))
    pq.write_table(table, folder / schema.INDEX_FILE, compression="zstd")
    (folder / schema.DATASET_FILE).write_text(json.dumps({"format_version": schema.FORMAT_VERSION}))
    return folder


# -- measured in processes of their own --------------------------------------------------------------------------------


def start(path: str, position: int) -> float:
    """Seconds from opening the dataset to holding a batch, from the beginning or from a state in the middle."""
    import pyarrow.parquet  # noqa: F401 - imports are not what is measured
    import torch  # noqa: F401

    import genimage_stream as gs

    _ = gs.Loader
    begin = time.perf_counter()
    loader = gs.Loader(gs.open_dataset(path), batch_size=64, crop=224, output="float32")
    if position:
        loader.load_state_dict({**loader.state_dict(), "position": position})
    batch = next(iter(loader))
    seconds = time.perf_counter() - begin
    assert len(batch) == 64
    return seconds


def interpreter(path: str, batches: int = 400) -> float:
    """Seconds of CPU that the consumer's thread spends in the loader for one batch; waiting takes none."""
    import genimage_stream as gs

    running = iter(gs.Loader(gs.open_dataset(path), batch_size=64, crop=64, output="float32"))
    for _ in range(10):
        next(running)
    begin = time.thread_time()
    for _ in range(batches):
        next(running)
    return (time.thread_time() - begin) / batches


def memory(path: str, epochs: int = 20) -> list[int]:
    """Resident KiB after each epoch."""
    import genimage_stream as gs

    loader = gs.Loader(gs.open_dataset(path), batch_size=64, crop=224, output="float32")
    found = []
    for _ in range(epochs):
        for batch in loader:
            assert len(batch)
        text = Path("/proc/self/status").read_text()
        found.append(int(text[text.index("VmRSS:") :].split()[1]))
    return found


MEASURES = {"start": start, "interpreter": interpreter, "memory": memory}


def alone(name: str, *arguments: Any) -> Any:
    """A measure in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.loading", "--measure", json.dumps([name, *arguments])]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    return json.loads(done.stdout)


def scale(dataset: Path, scratch: Path, rows: int) -> dict[str, Any]:
    large = str(make_large(dataset, scratch / "large", rows))
    return {
        "rows": rows,
        "first_batch_seconds": [alone("start", large, 0) for _ in range(REPEATS)],
        "resume_seconds": [alone("start", large, rows // 2) for _ in range(REPEATS)],
        "interpreter_seconds_per_batch": [alone("interpreter", large) for _ in range(3)],
        "resident_kib_after_epochs": alone("memory", str(dataset)),
    }


def scale_table(found: dict[str, Any]) -> str:
    memory_mib = [round(kib / 1024) for kib in found["resident_kib_after_epochs"]]
    lines = [
        f"| index of {found['rows']:,} rows | median | all |",
        "|---|---:|---|",
    ]
    for name, title, factor, unit in (
        ("first_batch_seconds", "opening to first batch", 1, "s"),
        ("resume_seconds", "going on in the middle of an epoch", 1, "s"),
        ("interpreter_seconds_per_batch", "interpreter's CPU time per batch of 64", 1000, "ms"),
    ):
        values = [value * factor for value in found[name]]
        lines.append(f"| {title} | {statistics.median(values):.2f} {unit} | {', '.join(f'{v:.2f}' for v in values)} |")
    lines.append(
        f"| memory after epoch 2, and after epoch {len(memory_mib)} | {memory_mib[1]}, {memory_mib[-1]} MiB | |"
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", nargs="?", help="a packed dataset")
    parser.add_argument("--crop-ready", default="", help="the same images packed with --crop-ready")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--only", choices=["throughput", "scale"])
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/loading.md and .json")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        name, *rest = json.loads(arguments.measure)
        print(json.dumps(MEASURES[name](*rest)))
        return
    if arguments.dataset is None:
        parser.error("name a packed dataset")
    import genimage_stream as gs

    dataset = gs.open_dataset(arguments.dataset)
    root = Path(dataset.path)
    sections: dict[str, str] = {}
    data: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        if arguments.only != "scale":
            work = Work(
                dataset=dataset.path,
                shards=tuple(str(root / shard) for shard in dataset.shards()[1]),
                images=len(dataset),
                scratch=scratch,
                crop_ready=arguments.crop_ready and str(Path(arguments.crop_ready).absolute()),
            )
            names = tuple(n for n in arguments.peers.split(",") if n != "ours_crop_ready" or arguments.crop_ready)
            found, missing = throughput(work, names, arguments.rounds)
            sections["Throughput, 224 pixel windows, float32 batches of 64, 2 threads or workers"] = "\n".join(
                [harness.table(found, baseline="webdataset + Pillow"), *(f"\n{n}: {why}" for n, why in missing.items())]
            )
            data["throughput"] = harness.as_json(found)
        if arguments.only != "throughput":
            data["scale"] = scale(root, Path(scratch), arguments.rows)
            sections["Scale"] = scale_table(data["scale"])
    for title, body in sections.items():
        print(f"{title}\n\n{body}\n")
    if arguments.write:
        versions = harness.versions("genimage-stream", "torch", "numpy", "pyarrow", "webdataset", "pillow")
        versions |= harness.versions("opencv-python-headless", "nvidia-dali-cuda120")
        harness.write_results("loading", "Loading", sections, data, package_versions=versions)


if __name__ == "__main__":
    main()
