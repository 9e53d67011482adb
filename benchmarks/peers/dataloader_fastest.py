"""DataLoader + simplejpeg + kornia-rs: a map-style dataset over the tars, what a good programmer writes in an hour.

A worker reads a sample by one pread at its place in the tar, which is listed beforehand, decodes with the fastest
decoders that pip installs, and cuts the window; batches of uint8 are normalised at once in the workers, which stay for
the next epoch.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.peers import Work, pixels

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


class Samples(torch.utils.data.Dataset):  # type: ignore[type-arg]
    def __init__(self, work: Work) -> None:
        self._files = [os.open(shard, os.O_RDONLY) for shard in work.shards]
        self._rows = torch.tensor(json.loads((Path(work.scratch) / "samples.json").read_text())).numpy()
        self._side = work.crop

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: int) -> tuple[Any, int]:
        shard, offset, size, label = self._rows[place].tolist()
        return pixels.fastest_window(os.pread(self._files[shard], size, offset), self._side), label


def open_stream(work: Work) -> Callable[[], Iterator[tuple[Any, Any]]]:
    torch.set_num_threads(1)  # the workers inherit it: processes are the parallelism here
    loader = torch.utils.data.DataLoader(
        Samples(work),
        batch_size=work.batch_size,
        shuffle=True,
        num_workers=work.workers,
        collate_fn=pixels.collate,
        persistent_workers=True,
        prefetch_factor=2,
        generator=torch.Generator().manual_seed(work.seed),
    )
    return lambda: iter(loader)
