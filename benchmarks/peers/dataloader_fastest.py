"""DataLoader + simplejpeg + kornia-rs: a map-style dataset over the tars, what a good programmer writes in an hour.

A worker reads a sample by one pread at its place in the tar, which is listed beforehand, decodes with the fastest
decoders that pip installs, and cuts the window; batches of uint8 are normalised at once in the workers, which stay for
the next epoch.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import Work
from genimage_stream.bench.peers import pixels, streams

TITLE = "DataLoader + simplejpeg, kornia-rs"
PACKAGES = ("torch", "simplejpeg", "kornia-rs")
REQUIREMENTS: tuple[str, ...] = ()


def prepare(work: Work) -> None:
    """Where every image is in its tar, and its label."""
    listing = Path(work.scratch) / "samples.json"
    if listing.exists():
        return
    rows = []
    for number, shard in enumerate(work.shards):
        with tarfile.open(shard) as tar:
            for member in tar:
                if member.name.endswith((".jpg", ".png")):
                    row = [number, member.offset_data, member.size]
                elif member.name.endswith(".cls"):
                    stream = tar.extractfile(member)
                    assert stream is not None
                    rows.append([*row, int(stream.read())])
    listing.write_text(json.dumps(rows))


def open_stream(work: Work) -> Callable[[], Iterator[tuple[Any, Any]]]:
    rows = np.array(json.loads((Path(work.scratch) / "samples.json").read_text()))
    samples = streams.Ranges(work.shards, rows.T, partial(pixels.fastest_window, side=work.crop))
    loader = streams.dataloader(
        samples,
        batch_size=work.batch_size,
        workers=work.workers,
        seed=work.seed,
        collate=pixels.collate,
        endless=False,
    )
    return lambda: iter(loader)
