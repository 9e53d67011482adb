"""How this loader's speed depends on threads, crop, image and index size, and whether its memory grows.

    python -m benchmarks.scaling [--rounds N] [--record]

The index sizes are synthetic: the rows of a packed set repeated until there are as many as wished, up to GenImage's
2,681,167, each pointing into real shards, so that batches are really loaded. Each size runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import genimage_stream as gs
from benchmarks.data import STREAMS, packed
from benchmarks.environments import ROOM, ROOT
from benchmarks.harness import RESULTS, Contestant, as_json, machine, measure, table, versions, write_results

CROPS = (64, 112, 224, 256, 384, 512)
INDEX_SIZES = (1_000, 10_000, 100_000, 1_000_000, 2_681_167)
MEMORY_EPOCHS = 12


def epoch_of(shards: Path, **options: Any) -> tuple[Callable[[], None], int]:
    """A callable that loads one epoch as float32 batches of 64, and the number of its images."""
    dataset = gs.open_dataset(shards)
    loader = gs.Loader(dataset, **{"batch_size": 64, "crop": 224, "output": "float32", "flip": True, **options})

    def run() -> None:
        for _ in loader:
            pass

    return run, len(dataset)


def contestants(variants: dict[str, tuple[Path, dict[str, Any]]]) -> list[Contestant]:
    return [Contestant(name, *epoch_of(shards, **options)) for name, (shards, options) in variants.items()]


def repeated(shards: Path, rows: int) -> Path:
    """A dataset whose index has `rows` rows that point into `shards`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = ROOM / "data" / f"index-{rows}"
    if not (folder / "dataset.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for path in shards.iterdir():
            if path.is_dir() and not (folder / path.name).exists():
                (folder / path.name).symlink_to(path.resolve())
        index = pq.read_table(shards / "index.parquet")
        copies = pa.concat_tables([index] * -(-rows // len(index))).slice(0, rows)
        pq.write_table(copies, folder / "index.parquet", row_group_size=128 * 1024)
        shutil.copy(shards / "dataset.json", folder / "dataset.json")
    return folder


def index_facts(folder: Path) -> dict[str, float]:
    """Open, first batch and steady rate of the dataset in `folder`; to be run in a fresh process."""
    import torch

    torch.set_num_threads(1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.perf_counter()
    dataset = gs.open_dataset(folder)
    opened = time.perf_counter()
    batches = iter(gs.Loader(dataset, batch_size=64, crop=224, output="float32", flip=True))
    next(batches)
    first = time.perf_counter()
    for _ in islice(batches, 10):
        pass
    return {
        "open_seconds": opened - begin,
        "first_batch_seconds": first - opened,
        "seconds_per_batch": (time.perf_counter() - first) / 10,
        "memory_mib": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
    }


def index_scaling(shards: Path) -> dict[int, dict[str, float]]:
    found = {}
    for rows in INDEX_SIZES:
        command = [sys.executable, "-m", "benchmarks.scaling", "--index", str(repeated(shards, rows))]
        answer = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        found[rows] = json.loads(answer)
    return found


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def memory_over_time(shards: Path) -> list[float]:
    """Resident MiB after each of some epochs of one loader."""
    run, _ = epoch_of(shards)
    found = []
    for _ in range(MEMORY_EPOCHS):
        run()
        found.append(round(resident_mib(), 1))
    return found


def main() -> int:
    """Measure all of it and write results/scaling.{md,json}."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="measured epochs of each variant")
    parser.add_argument("--record", action="store_true", help="write to benchmarks/results")
    parser.add_argument("--index", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.index:
        print(json.dumps(index_facts(arguments.index)))
        return 0

    whole, cpus = packed(), machine()["cpus"]
    threads = sorted({1, *(2**i for i in range(1, 8) if 2**i < cpus), cpus, 2 * cpus})
    groups = {
        "Threads": {f"{n} threads": (whole, {"threads": n}) for n in threads},
        "Crop": {f"{side} x {side}": (whole, {"crop": side}) for side in CROPS},
        "Image": {stream: (packed(stream), {}) for stream in STREAMS},
    }
    measured = {name: measure(contestants(group), rounds=arguments.rounds) for name, group in groups.items()}
    sizes = index_scaling(whole)
    memory = memory_over_time(whole)

    rows = ["| samples in the index | open, s | first batch, s | s per batch of 64 | memory, MiB |"]
    rows.append("|---:|---:|---:|---:|---:|")
    for count, facts in sizes.items():
        cells = (f"{facts[k]:.3f}" for k in ("open_seconds", "first_batch_seconds", "seconds_per_batch"))
        rows.append(f"| {count:,} | {' | '.join(cells)} | {facts['memory_mib']:,.0f} |")
    sections = {name: table(group) for name, group in measured.items()}
    sections["Samples in the index"] = "\n".join(rows)
    sections["Memory over time"] = "Resident MiB after each epoch: " + ", ".join(f"{m:,.0f}" for m in memory) + "."
    for heading, body in sections.items():
        print(f"\n{heading}\n\n{body}")
    data: dict[str, Any] = {name.lower(): as_json(group) for name, group in measured.items()}
    data |= {"index": sizes, "memory_mib": memory, "rounds": arguments.rounds}
    markdown, _ = write_results(
        "scaling",
        "How the loader scales",
        sections,
        data,
        package_versions=versions("genimage-stream", "torch", "numpy", "pyarrow"),
        remarks=["Epochs of 224 crops (unless said otherwise) as float32 batches of 64, files in the page cache."],
        folder=RESULTS if arguments.record else ROOM / "results",
    )
    print(f"written: {markdown}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
