"""Runs one peer in a process of its own, an epoch for each request {"do": "epoch"} (genimage_stream/bench/process.py).

python -m benchmarks.peers.serve webdataset_pillow work.json
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.harness import versions
from benchmarks.peers import Work
from genimage_stream.bench.process import Answer, Request, serve, usage


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


def start() -> tuple[Answer, Callable[[Request], Answer]]:
    """Open the peer that the command line names."""
    name, work_path = sys.argv[1:3]
    peer = import_module(name if "." in name else f"benchmarks.peers.{name}")  # a whole name: a test's own
    work = Work.load(Path(work_path))
    Path(work.scratch).mkdir(parents=True, exist_ok=True)
    if hasattr(peer, "prepare"):
        peer.prepare(work)
    epoch = peer.open_stream(work)
    settle: Callable[[], None] | None = getattr(epoch, "settle", None)

    def answer(request: Request) -> Answer:
        if request["do"] == "epoch":
            return run_epoch(epoch, work)
        assert settle is not None
        settle()
        return {}

    about = {"title": peer.TITLE, "versions": versions(*peer.PACKAGES), "settles": settle is not None}
    return about | {"warm_up": getattr(peer, "WARM_UP", 1)}, answer


if __name__ == "__main__":
    serve(start)
