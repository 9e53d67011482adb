"""Runs one peer in a process of its own, an epoch for each line "epoch" on standard input.

    python -m benchmarks.peers.serve webdataset_pillow work.json

A process of its own, because peers need different environments and must not share an interpreter's lock or memory.
Answers with one JSON object per line on standard output; whatever the peer itself prints goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from benchmarks.peers import Work


def process_tree(root: int) -> list[int]:
    """The process and all its descendants, by /proc."""
    found = [root]
    for pid in found:
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                found += map(int, children.read_text().split())
            except OSError:  # the thread has ended
                continue
    return found


def usage(root: int) -> tuple[float, float, int]:
    """CPU seconds spent so far, peak resident MiB (summed over the processes) and threads of a process tree.

    Of processes and threads that are there now: what ends with the epoch is seen by looking during it.
    """
    ticks = os.sysconf("SC_CLK_TCK")
    seconds = peak = 0.0
    threads = 0
    for pid in process_tree(root):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        seconds += sum(int(field) for field in fields[11:15]) / ticks
        values = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        peak += int(values.get("VmHWM", "0 kB").split()[0]) / 1024
        threads += int(values.get("Threads", "0"))
    return seconds, peak, threads


def run_epoch(epoch: Callable[[], Iterator[tuple[Any, Any]]], work: Work) -> dict[str, Any]:
    """One epoch; checks that the work that was asked for was done."""
    cpu = usage(os.getpid())[0]
    begin = time.perf_counter()
    images = 0
    for pixels, labels in epoch():
        shape = tuple(pixels.shape)
        if shape != (len(labels), 3, work.crop, work.crop) or not str(pixels.dtype).endswith("float32"):
            raise ValueError(f"a batch of {shape} {pixels.dtype} with {len(labels)} labels is not what was asked for")
        images += len(labels)
    seconds = time.perf_counter() - begin
    after, peak, threads = usage(os.getpid())
    if images != work.images:
        raise ValueError(f"an epoch gave {images} images instead of {work.images}")
    return {
        "images": images,
        "seconds": seconds,
        "cpu_seconds": after - cpu,
        "peak_mib": round(peak, 1),
        "threads": threads,
    }


def version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def main() -> int:
    """Open the peer, then answer the lines of standard input until it ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints must not end up among the answers
    name, work_path = sys.argv[1:3]
    try:
        peer = import_module(name if "." in name else f"benchmarks.peers.{name}")  # a whole name: a test's own
        work = Work.load(Path(work_path))
        Path(work.scratch).mkdir(parents=True, exist_ok=True)
        if hasattr(peer, "prepare"):
            peer.prepare(work)
        epoch = peer.open_stream(work)
        settle: Callable[[], None] | None = getattr(epoch, "settle", None)
        about = {"title": peer.TITLE, "versions": {p: version(p) for p in peer.PACKAGES}, "settles": bool(settle)}
        about["warm_up"] = getattr(peer, "WARM_UP", 1)
        print(json.dumps(about), file=answers)
        for line in sys.stdin:
            if line.strip() == "settle":
                assert settle is not None
                settle()
                print("{}", file=answers)
            else:
                print(json.dumps(run_epoch(epoch, work)), file=answers)
    except Exception as error:  # whatever a peer raises is the answer
        traceback.print_exc()
        print(json.dumps({"error": f"{type(error).__name__}: {error}".splitlines()[0]}), file=answers)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
