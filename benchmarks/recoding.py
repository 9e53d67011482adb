"""Speed of recoding to crop-ready images, and their size.

    python -m benchmarks.recoding [--tree TREE] [--rounds 3] [--record]

`shard-tools pack --crop-ready` of a tree in GenImage's mix of formats and sizes, whole command, with one worker and
with one per core, beside `pack` with full checks; then the recoding of its images in this process by kind, which is
what packing does with each: decode, recode, decode the result, compare, three sha256.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import genimage_stream as gs
from benchmarks.environments import ROOM
from benchmarks.harness import RESULTS, Contestant, as_json, measure, versions, write_results
from benchmarks.packing import Watch, files_below, rows, shard_tools
from genimage_stream.decode.crop_ready import DEFAULT_PNG_LEVEL
from shard_tools.crop_ready import recode_image

ONE, ALL, PLAIN = "pack --crop-ready --workers 1", "pack --crop-ready", "pack"


def kind_of(facts: gs.ImageFacts) -> str:
    if facts.format == "jpeg":
        return "JPEG, progressive" if facts.progressive else "JPEG"
    return f"PNG {facts.width}" + ("" if facts.mode == "RGB" else f" {facts.mode}")


def by_kind(files: list[Path], rounds: int) -> dict[str, dict[str, float]]:
    """Of each kind, and at the end of all: images, bytes before and after, CPU seconds (the median of `rounds`)."""
    kinds: dict[str, list[bytes]] = defaultdict(list)
    for path in files:
        data = path.read_bytes()
        try:
            kinds[kind_of(gs.inspect(data))].append(data)
        except gs.DecodeError:
            continue
    found = {}
    for kind, images in sorted(kinds.items()):
        times = []
        for _ in range(rounds):
            begin = time.thread_time()
            stored = sum(len(recode_image(data, DEFAULT_PNG_LEVEL).data) for data in images)
            times.append(time.thread_time() - begin)
        before = sum(map(len, images))
        found[kind] = {
            "images": len(images),
            "bytes": before,
            "stored_bytes": stored,
            "cpu_seconds": statistics.median(times),
        }
    found["all"] = {key: sum(one[key] for one in found.values()) for key in next(iter(found.values()))}
    return found


def kinds_table(found: dict[str, dict[str, float]]) -> str:
    lines = ["| | images | stored size | CPU ms an image | images/s and core |", "|---|---:|---:|---:|---:|"]
    for kind, one in found.items():
        each = one["cpu_seconds"] / one["images"]
        size = one["stored_bytes"] / one["bytes"]
        lines.append(f"| {kind} | {one['images']:,.0f} | {size:.4f} | {each * 1e3:.2f} | {1 / each:,.0f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tree", type=Path, help="default: stand-ins of GenImage's formats and sizes, made here")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scratch", type=Path, help="folder to write in; default: the system's for temporary files")
    parser.add_argument("--record", action="store_true", help="write to benchmarks/results")
    options = parser.parse_args()
    if options.tree is None:
        from benchmarks.data import tree as made

        options.tree = made()
    tree = options.tree.resolve()
    files = files_below(tree)
    size = sum(len(path.read_bytes()) for path in files)  # and into the cache
    watch = Watch()
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        works = {
            ONE: lambda to: shard_tools("pack", tree, to, "--crop-ready", "--workers", "1"),
            ALL: lambda to: shard_tools("pack", tree, to, "--crop-ready"),
            PLAIN: lambda to: shard_tools("pack", tree, to),
        }
        contestants = [Contestant(n, watch.watched(n, work, Path(scratch)), len(files)) for n, work in works.items()]
        measured = measure(contestants, rounds=options.rounds, warm_up=0, clock=watch)
    title = f"Whole commands: {len(files):,} images, {size / 1e6:,.0f} MB"
    sections = {title: rows(measured, watch, size, {f"times {PLAIN}": PLAIN})}
    kinds = by_kind(files, options.rounds)
    sections[f"By kind of image, one thread, level {DEFAULT_PNG_LEVEL}"] = kinds_table(kinds)
    for heading, body in sections.items():
        print(f"\n## {heading}\n\n{body}", flush=True)
    data: dict[str, Any] = {**as_json(measured), "cpu_seconds": watch.cpu, "kinds": kinds}
    used = versions("genimage-stream", "numpy", "pyarrow")
    folder = RESULTS if options.record else ROOM / "results"
    write_results("recoding", "Packing crop-ready", sections, data, package_versions=used, folder=folder)


if __name__ == "__main__":
    main()
