"""Speed of packing and verifying, beside tar, sha256sum and webdataset's ShardWriter.

    python -m benchmarks.packing [--tree TREE] [--copies 10] [--rounds 5] [--record]

In the same run, on the same warm files and the same disk: `tar cf` (no check, no index), by itself and with `sync`
after it, as the packer's shards are; `webdataset.ShardWriter` with every image decoded by Pillow; `shard-tools pack`
with `--check full` and `--check header`, the last beside tar once more on `--copies` copies of the tree; `shard-tools
verify` beside `sha256sum` and reading alone; planning and indexing all of GenImage from a synthetic list of names.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness import (
    RESULTS,
    Contestant,
    Measurement,
    as_json,
    machine,
    measure,
    ratio_text,
    versions,
    write_results,
)

ROOT = Path(__file__).resolve().parents[1]
WEBDATASET = "webdataset.ShardWriter + Pillow"
FULL, HEADER, TAR = "shard-tools pack", "shard-tools pack --check header", "tar cf"
SYNCED = "tar cf, then sync"


class Watch:
    """A clock that can be stopped, and the CPU seconds of each contestant with its child processes."""

    def __init__(self) -> None:
        self._left_out = 0.0
        self.cpu: dict[str, list[float]] = {}

    def __call__(self) -> float:
        return time.perf_counter() - self._left_out

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self._left_out += time.perf_counter() - begin

    def watched(self, name: str, work: Callable[[Path], None], scratch: Path) -> Callable[[], None]:
        """`work` with a place to write to, which is cleared and synced off the clock."""

        def run() -> None:
            to = scratch / "out"
            begin = cpu_seconds()
            work(to)
            with self.stopped():
                self.cpu.setdefault(name, []).append(cpu_seconds() - begin)
                shutil.rmtree(to) if to.is_dir() else to.unlink(missing_ok=True)
                os.sync()

        return run


def cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def files_below(tree: Path) -> list[Path]:
    return sorted(path for path in tree.rglob("*") if path.is_file())


def make_copies(tree: Path, to: Path, copies: int) -> None:
    """Every file `copies` times, under other names that say the same."""
    for path in files_below(tree):
        folder = to / path.relative_to(tree).parent
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(copies):
            shutil.copy(path, folder / f"{path.stem}c{number}{path.suffix}")


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


def by_tar_and_sync(tree: Path, destination: Path) -> None:
    """As safe from a power failure as what the packer leaves."""
    by_tar(tree, destination)
    subprocess.run(["sync", str(destination)], check=True)


def by_sha256sum(paths: list[Path]) -> None:
    subprocess.run(["sha256sum", *paths], check=True, stdout=subprocess.DEVNULL)


def shard_tools(*arguments: object) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # or it would compile itself each time, as no user's does
    command = [sys.executable, "-m", "shard_tools", *map(str, arguments)]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def read_all(paths: list[Path], buffer: bytearray) -> None:
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def rows(measured: Mapping[str, Measurement], watch: Watch, size: int, columns: Mapping[str, str]) -> str:
    """Markdown; `columns`: heading -> the contestant whose speed is 1 in it (median of the rounds, and their range)."""
    lines = [
        f"| | images/s | spread | MB/s | CPU seconds | {' | '.join(columns)} |",
        "|---|---:|---:|---:|---:|" + "---:|" * len(columns),
    ]
    for name, one in measured.items():
        cpu = sorted(watch.cpu[name])[len(watch.cpu[name]) // 2]
        ratios = " | ".join(ratio_text(one.ratios(measured[other])) for other in columns.values())
        mb = one.rate / one.units * size / 1e6
        lines.append(f"| {name} | {one.rate:,.0f} | {one.spread:.0%} | {mb:,.0f} | {cpu:.2f} | {ratios} |")
    return "\n".join(lines)


def plan_all(scale: float) -> None:
    """Plan and index GenImage from a synthetic list of its names; prints a JSON object of (seconds, CPU seconds, peak
    MB so far) by step. In a process of its own, because of the memory.
    """
    import numpy as np
    import pyarrow.parquet as pq

    from genimage_stream.decode import ImageFacts
    from genimage_stream.vocabulary import PUBLISHED, synsets
    from shard_tools import state
    from shard_tools.cli import collect_garbage_rarely
    from shard_tools.gather import gather
    from shard_tools.placing import Origin, Placer
    from shard_tools.scan import Listing, Scanner
    from shard_tools.shard import Packed, ShardResult
    from shard_tools.sources.base import ContainerListing, FolderListing
    from shard_tools.sources.folder import FolderContainer
    from shard_tools.target.local_storage import LocalStorage
    from shard_tools.work import PackOptions, plan_work

    rng = np.random.default_rng(1)
    names = synsets()
    listed = ContainerListing()
    for generator, counts in PUBLISHED.items():
        for split in ("train", "val"):
            for label in ("fake", "real"):
                n = int(counts.of(split, label) * scale)
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

    steps: dict[str, tuple[float, float, float]] = {}
    collect_garbage_rarely()

    def clock() -> tuple[float, float]:
        return time.perf_counter(), time.process_time()

    def lap(what: str, since: tuple[float, float]) -> tuple[float, float]:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        wall, cpu = (now - then for now, then in zip(clock(), since, strict=True))
        steps[what] = (round(wall, 2), round(cpu, 2), round(peak))
        return clock()

    start = clock()

    container = FolderContainer("/nowhere")
    placer, scanner = Placer(()), Scanner(None, None)
    (places,) = placer.settle([placer.places(container, listed, [], Origin())])
    scanner.add(0, container, listed, [], places)
    listing: Listing = scanner.finish([container])
    listing.origins = [Origin()]
    now = lap(f"names of {len(listing):,} files", start)
    options = PackOptions()
    work = plan_work(listing, options)
    now = lap(f"keys and plan of {len(work.plan.shards):,} shards", now)
    facts = ImageFacts("jpeg", "RGB", 500, 375, 8, 96, False)
    with tempfile.TemporaryDirectory() as scratch:
        storage = LocalStorage(scratch)
        for number, shard in enumerate(work.plan.shards):
            begin = clock()
            packed = [Packed(i, 1024 * i, 100_000, facts, rng.bytes(32).hex()) for i in range(shard.end - shard.begin)]
            wall, cpu = clock()  # the workers find these out; making them up is not the packer's work
            now, start = ((since[0] + wall - begin[0], since[1] + cpu - begin[1]) for since in (now, start))
            result = ShardResult(number, size=1024, packed=packed)
            state.save_result(storage, shard, result, work.planned)
        now = lap("results of the shards (spread over the packing)", now)
        gather(work, options, storage)
        now = lap("index", now)
        size = (Path(scratch) / "index.parquet").stat().st_size
        rows = pq.read_table(Path(scratch) / "index.parquet").num_rows
        lap(f"opening it ({rows:,} rows, {size / 1e6:,.0f} MB), all columns", now)
    lap("in all", start)
    print(json.dumps(steps))


def planning(scale: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.packing", "--plan", str(scale)]
    done = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True)
    steps: dict[str, Any] = json.loads(done.stdout)
    return steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tree", type=Path, help="default: stand-ins of GenImage's formats and sizes, made here")
    parser.add_argument("--copies", type=int, default=10, help="of the tree, for the larger comparison")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="part of GenImage's names that is planned")
    parser.add_argument("--scratch", type=Path, help="folder to write in; default: the system's for temporary files")
    parser.add_argument("--record", action="store_true", help="write to benchmarks/results")
    parser.add_argument("--plan", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.plan is not None:
        plan_all(arguments.plan)
        return
    if arguments.tree is None:
        from benchmarks.data import tree as made

        arguments.tree = made()
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        compare(arguments, arguments.tree.resolve(), Path(scratch))


def compare(arguments: argparse.Namespace, tree: Path, scratch: Path) -> None:
    sections: dict[str, str] = {}
    data: dict[str, Any] = {"rounds": arguments.rounds}

    def section(
        heading: str,
        source: list[Path],
        works: dict[str, Callable[[Path], None]],
        columns: dict[str, str],
        images: int = 0,
    ) -> None:
        count = images or len(source)
        size = sum(path.stat().st_size for path in source)
        read_all(source, bytearray(1 << 20))
        watch = Watch()
        contestants = [Contestant(n, watch.watched(n, work, scratch), count) for n, work in works.items()]
        measured = measure(contestants, rounds=arguments.rounds, warm_up=0, clock=watch)
        title = f"{heading}: {count:,} images in {len(source):,} files, {size / 1e6:,.0f} MB"
        sections[title] = rows(measured, watch, size, columns)
        data[heading] = {
            "images": count,
            "files": len(source),
            "bytes": size,
            **as_json(measured),
            "cpu_seconds": watch.cpu,
        }
        print(f"\n## {title}\n\n{sections[title]}", flush=True)

    files = files_below(tree)
    section(
        "Packing",
        files,
        {
            TAR: lambda to: by_tar(tree, to),
            SYNCED: lambda to: by_tar_and_sync(tree, to),
            WEBDATASET: lambda to: by_webdataset(files, to),
            FULL: lambda to: shard_tools("pack", tree, to),
            HEADER: lambda to: shard_tools("pack", tree, to, "--check", "header"),
        },
        {f"times {WEBDATASET}": WEBDATASET, "times tar": TAR, "times tar and sync": SYNCED},
    )
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    large = scratch / tree.name
    make_copies(tree, large, arguments.copies)
    section(
        "Packing more",
        files_below(large),
        {
            TAR: lambda to: by_tar(large, to),
            SYNCED: lambda to: by_tar_and_sync(large, to),
            HEADER: lambda to: shard_tools("pack", large, to, "--check", "header"),
        },
        {"times tar": TAR, "times tar and sync": SYNCED},
    )
    shards = scratch / "shards"
    shard_tools("pack", large, shards, "--check", "header")
    shutil.rmtree(large)
    tars = sorted(shards.rglob("*.tar"))
    buffer = bytearray(1 << 20)
    section(
        "Verifying",
        tars,
        {
            "reading alone, one thread": lambda _: read_all(tars, buffer),
            "sha256sum": lambda _: by_sha256sum(tars),
            "shard-tools verify": lambda _: shard_tools("verify", shards),
        },
        {"times sha256sum": "sha256sum"},
        len(files) * arguments.copies,
    )
    steps = data["planning"] = planning(arguments.scale)
    lines = ["| | seconds | CPU seconds | peak MB so far |", "|---|---:|---:|---:|"]
    lines += [f"| {what} | {wall:.1f} | {cpu:.1f} | {peak:,.0f} |" for what, (wall, cpu, peak) in steps.items()]
    sections["Planning and indexing, synthetic names"] = "\n".join(lines)
    data["largest_process_mb"] = round(largest)
    markdown, _ = write_results(
        "packing",
        "Packing",
        sections,
        data,
        package_versions=versions("genimage-stream", "numpy", "pyarrow", "pillow", "webdataset"),
        remarks=[
            f"Files in the page cache, {machine()['cpus']} cores, median of {arguments.rounds} rounds taken in turn, "
            "start-up of each program included, but for ShardWriter, which runs in the benchmark's process. tar alone "
            "leaves its file in the page cache; the packer's shards are on the disk when it ends, as tar's are after "
            f"sync. Largest process while packing: {largest:,.0f} MB."
        ],
        folder=RESULTS if arguments.record else ROOT / ".bench" / "results",
    )
    print(f"written: {markdown}", file=sys.stderr)


if __name__ == "__main__":
    main()
