"""How fast packing is, beside what people do today.

    python benchmarks/packing.py pack TREE [--runs 3] [--workers 0]    images/s and MB/s of packing a tree of real files
    python benchmarks/packing.py plan [--scale 1.0]                    planning and indexing all of GenImage,
    synthetic list

`pack` compares, in the same run and on the same warm files: `tar cf` (no check, no index, no sync),
`webdataset.ShardWriter` with every image decoded by Pillow, and `shard-tools pack` with `--check full` and `--check
header`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def machine() -> str:
    import numpy
    import PIL
    import pyarrow

    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    versions = f"Python {platform.python_version()}, numpy {numpy.__version__}, pyarrow {pyarrow.__version__}"
    return f"{len(os.sched_getaffinity(0))} cores of {model}; {versions}, Pillow {PIL.__version__}"


def files_below(tree: Path) -> list[Path]:
    return sorted(path for path in tree.rglob("*") if path.is_file())


def by_webdataset(files: list[Path], destination: Path) -> None:
    """What most people write: one process, Pillow decodes every image, ShardWriter writes."""
    import io

    import webdataset as wds
    from PIL import Image

    destination.mkdir()
    with wds.ShardWriter(str(destination / "%05d.tar"), maxsize=256e6, maxcount=10**9, verbose=0) as sink:
        for number, path in enumerate(files):
            data = path.read_bytes()
            with Image.open(io.BytesIO(data)) as image:
                image.load()
                facts = {"format": image.format, "mode": image.mode, "size": image.size}
            sink.write(
                {
                    "__key__": f"{number:08d}",
                    ("png" if facts["format"] == "PNG" else "jpg"): data,
                    "cls": b"1" if path.parent.name == "ai" else b"0",
                    "json": json.dumps(facts).encode(),
                }
            )


def by_tar(tree: Path, destination: Path) -> None:
    subprocess.run(["tar", "cf", str(destination), "-C", str(tree.parent), tree.name], check=True)


def by_us(tree: Path, destination: Path, check: str, workers: int) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "shard_tools", "pack", str(tree), str(destination)]
    command += ["--check", check, "--workers", str(workers)]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def measure_pack(arguments: argparse.Namespace) -> None:
    tree = Path(arguments.tree).resolve()
    files = files_below(tree)
    size = sum(path.stat().st_size for path in files)
    print(machine())
    print(f"{len(files):,} files, {size / 1e6:,.0f} MB, warm cache, median of {arguments.runs} runs taken in turn\n")
    contestants: dict[str, Callable[[Path], None]] = {
        "tar cf": lambda to: by_tar(tree, to),
        "webdataset.ShardWriter + Pillow": lambda to: by_webdataset(files, to),
        "shard-tools pack": lambda to: by_us(tree, to, "full", arguments.workers),
        "shard-tools pack --check header": lambda to: by_us(tree, to, "header", arguments.workers),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for path in files:
        path.read_bytes()
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        for run in range(arguments.runs):
            for name, carry_out in contestants.items():
                to = Path(scratch) / f"out{run}"
                start = time.perf_counter()
                carry_out(to)
                seconds[name].append(time.perf_counter() - start)
                shutil.rmtree(to) if to.is_dir() else to.unlink()
                os.sync()
    base = statistics.median(seconds["webdataset.ShardWriter + Pillow"])
    tar = statistics.median(seconds["tar cf"])
    print(f"| {'':32} | images/s |  MB/s | x webdataset | of tar |")
    print(f"|{'-' * 34}|---------:|------:|-------------:|-------:|")
    for name, taken in seconds.items():
        median = statistics.median(taken)
        print(
            f"| {name:32} | {len(files) / median:8,.0f} | {size / 1e6 / median:5,.0f} | {base / median:12.1f} "
            f"| {tar / median:6.0%} |"
        )
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"\nlargest process: {peak:,.0f} MB")


def measure_plan(arguments: argparse.Namespace) -> None:
    import numpy as np
    import pyarrow.parquet as pq

    from genimage_stream.decode import ImageFacts
    from genimage_stream.vocabulary import PUBLISHED, synsets
    from shard_tools import state
    from shard_tools.pack import PackOptions, gather, plan_work
    from shard_tools.scan import Listing, Scanner
    from shard_tools.shard import Packed, ShardResult
    from shard_tools.sources.base import ContainerListing, FolderListing
    from shard_tools.sources.folder import FolderContainer
    from shard_tools.storage import LocalStorage

    print(machine())
    rng = np.random.default_rng(1)
    names = synsets()
    listed = ContainerListing()
    for generator, counts in PUBLISHED.items():
        for split in ("train", "val"):
            for label in ("fake", "real"):
                n = int(counts.of(split, label) * arguments.scale)
                folder = FolderListing(
                    f"{generator}/imagenet_{generator}/{split}/{'ai' if label == 'fake' else 'nature'}"
                )
                if label == "fake":
                    folder.names = [f"{i % 1000:03d}_{generator}_{i:05d}.png" for i in range(n)]
                elif split == "train":
                    folder.names = [f"{names[i % 1000]}_{generator}{i}.JPEG" for i in range(n)]
                else:
                    folder.names = [f"ILSVRC2012_val_{i + 1:08d}.JPEG" for i in range(n)]
                folder.sizes = rng.integers(20_000, 440_000, n).tolist()
                listed.folders.append(folder)

    def clock() -> tuple[float, float]:
        return time.perf_counter(), time.process_time()

    def lap(what: str, since: tuple[float, float]) -> tuple[float, float]:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        wall, cpu = (now - then for now, then in zip(clock(), since, strict=True))
        print(f"{what:52} {wall:6.1f} s, CPU {cpu:6.1f} s, peak {peak:6,.0f} MB", flush=True)
        return clock()

    start = clock()

    container = FolderContainer("/nowhere")
    scanner = Scanner((), None, None)
    scanner.add(0, container, listed, [])
    listing: Listing = scanner.finish([container])
    now = lap(f"names of {len(listing):,} files", start)
    options = PackOptions()
    work = plan_work(listing, options)
    now = lap(f"keys and plan of {len(work.plan.shards):,} shards", now)
    facts = ImageFacts("jpeg", "RGB", 500, 375, 8, 96, False)
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        storage = LocalStorage(scratch)
        for number, shard in enumerate(work.plan.shards):
            packed = [Packed(i, 1024 * i, 100_000, facts, rng.bytes(32).hex()) for i in range(shard.end - shard.begin)]
            result = ShardResult(number, size=1024, packed=packed)
            state.save_result(storage, shard, result, work.planned)
        now = lap("results of the shards (spread over the packing)", now)
        gather(work, options, storage)
        now = lap("index", now)
        size = (Path(scratch) / "index.parquet").stat().st_size
        rows = pq.read_table(Path(scratch) / "index.parquet").num_rows
        lap(f"opening it ({rows:,} rows, {size / 1e6:,.0f} MB), all columns", now)
    lap("in all", start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    pack = commands.add_parser("pack")
    pack.add_argument("tree")
    pack.add_argument("--runs", type=int, default=3)
    pack.add_argument("--workers", type=int, default=0)
    pack.set_defaults(run=measure_pack)
    plan = commands.add_parser("plan")
    plan.add_argument("--scale", type=float, default=1.0)
    plan.set_defaults(run=measure_plan)
    for command in (pack, plan):
        command.add_argument("--scratch", help="folder to write in; default: the system's for temporary files")
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
