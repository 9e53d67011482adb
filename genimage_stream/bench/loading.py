"""Decoding alone, and loading end to end: the loader itself, once from memory and once from the shards.

Both run the same code with the same options, so the difference between the two figures is storage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from genimage_stream.bench.rate import Meter, Rate, now
from genimage_stream.dataset.access import Access
from genimage_stream.dataset.dataset import Dataset
from genimage_stream.loading.loader import Loader
from genimage_stream.storage.memory import MemoryReader

MEMORY_BYTES = 256 << 20  # of encoded images kept for decoding alone
MEMORY_IMAGES = 1024
LONG_EPOCH = 400  # batches


@dataclass(frozen=True, eq=False)
class InMemory(Access):
    """A dataset whose samples were read beforehand: `data` maps (shard, offset) to bytes."""

    data: Mapping[tuple[int, int], bytes] = field(default_factory=dict)

    def reader(self) -> MemoryReader:
        return MemoryReader(self.data)


def in_memory(
    dataset: Dataset, seed: int, *, most_images: int = MEMORY_IMAGES, most_bytes: int = MEMORY_BYTES
) -> Dataset:
    """A random part of the dataset with its bytes in memory, of a bounded size but at least one sample."""
    access = dataset.access
    codes, _ = access.shards()
    offsets, sizes = access.columns.numbers("offset", "size")
    rows = np.random.default_rng(seed).permutation(access.rows)[:most_images]
    total = np.cumsum(sizes[rows])
    rows = np.sort(rows[: max(1, int(np.searchsorted(total, most_bytes)))])
    data = {}
    for row, shard, offset in zip(rows.tolist(), codes[rows].tolist(), offsets[rows].tolist(), strict=True):
        data[shard, offset] = access.read(row)
    return Dataset(InMemory(access.store, access.info, access.columns, access.reopen, rows, data))


def long_enough(dataset: Dataset, batch_size: int) -> Dataset:
    """The dataset, each sample repeated when there are few: the start and end of an epoch must not weigh."""
    repeats = -(-LONG_EPOCH * batch_size // max(1, len(dataset)))
    return dataset if repeats <= 1 else Dataset(dataset.access.with_rows(np.repeat(dataset.access.rows, repeats)))


class Loading:
    """One loader whose speed is measured in several turns, which alternate with those of other loaders.

    Each turn takes the batches that the loader had ready before the clock starts.
    """

    def __init__(self, dataset: Dataset, **options: Any) -> None:
        dataset = long_enough(dataset, options["batch_size"])
        self._loader = Loader(dataset, rank=0, world_size=1, on_error="skip", max_errors=len(dataset), **options)
        self._epoch = iter(self._loader)
        self._meter = Meter()

    def turn(self, seconds: float) -> None:
        """Load for about this long, over as many epochs as that takes."""
        for _ in range(self._loader.prefetch + 1):
            self._next()
        spent, last, before = 0.0, now(), self._loader.stats()
        while spent < seconds:
            images = self._next()  # on a GPU: when it is finished there
            at, stats = now(), self._loader.stats()
            self._meter.add(at - last, images, stats.bytes - before.bytes)
            spent += at - last
            last, before = at, stats

    def _next(self) -> int:
        """Images of the next batch, from the next epoch when this one is over."""
        batch = next(self._epoch, None)
        while batch is None:
            self._epoch = iter(self._loader)
            batch = next(self._epoch, None)
        if batch.images.is_cuda:
            torch.cuda.current_stream(batch.images.device).synchronize()
        return len(batch)

    def close(self) -> tuple[Rate | None, int]:
        """(speed, images that did not decode); None when no image did."""
        self._epoch.close()
        return self._meter.rate(), self._loader.stats().skipped


def first_batch_seconds(open_it: Callable[[], Dataset], **options: Any) -> float:
    """From opening the dataset to its first batch."""
    start = now()
    epoch = iter(Loader(open_it(), rank=0, world_size=1, on_error="skip", **options))
    next(epoch, None)
    spent = now() - start
    epoch.close()
    return spent
