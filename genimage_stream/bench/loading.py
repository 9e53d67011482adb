"""Decoding alone, and loading end to end: the loader itself, once from memory and once from the shards.

Both run the same code with the same options, so what lies between the two figures is storage.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from genimage_stream.bench.rate import Meter, Rate, now
from genimage_stream.dataset.dataset import Dataset
from genimage_stream.loading.loader import Loader
from genimage_stream.storage.store import read_range

if TYPE_CHECKING:
    import pyarrow as pa

    from genimage_stream.dataset.columns import IndexColumns

MEMORY_BYTES = 256 << 20  # of encoded images kept for decoding alone
MEMORY_IMAGES = 1024
LONG_EPOCH = 400  # batches


class MemoryStore:
    """A store whose samples were read beforehand: (shard, offset) -> bytes."""

    def __init__(self, dataset: Dataset, rows: npt.NDArray[np.int64]) -> None:
        self.name = dataset.path
        codes, paths = dataset.shards()
        offsets, sizes = dataset.columns.numbers("offset", "size")
        self._data: dict[tuple[int, int], bytes] = {}
        for row in rows.tolist():
            place = int(codes[row]), int(offsets[row])
            self._data[place] = read_range(dataset.store, paths[place[0]], place[1], int(sizes[row]))

    def read(self, path: str) -> bytes:
        raise FileNotFoundError(path)

    def read_buffer(self, path: str) -> pa.Buffer:
        raise FileNotFoundError(path)

    def local_path(self, path: str) -> str | None:
        return None

    def opening(self) -> dict[str, Any]:
        raise TypeError("samples in memory cannot be opened again in another process")

    def reader(self, shards: list[str]) -> MemoryReader:
        return MemoryReader(self._data)

    def cached_reader(self, shards: list[str], columns: IndexColumns, info: dict[str, Any]) -> MemoryReader:
        return MemoryReader(self._data)


class MemoryReader:
    ahead = 0
    wants_order = False
    wants_parts = False

    def __init__(self, data: dict[tuple[int, int], bytes]) -> None:
        self._data = data

    def begin(self, order: list[int], window: int | None) -> None:
        pass

    def request(
        self,
        shards: npt.NDArray[np.int32],
        offsets: npt.NDArray[np.int64],
        sizes: npt.NDArray[np.int64],
        parts: npt.NDArray[np.int64] | None = None,
    ) -> MemoryRequest:
        return MemoryRequest([self._data[place] for place in zip(shards.tolist(), offsets.tolist(), strict=True)])


class MemoryRequest:
    def __init__(self, data: list[bytes]) -> None:
        self._data = data

    def ready(self) -> bool:
        return True

    def wait(self, timeout: float) -> bool:
        return True

    def source(self) -> list[bytes]:
        return self._data

    def cancel(self) -> None:
        pass

    def seconds(self) -> float:
        return 0.0


def in_memory(dataset: Dataset, seed: int) -> Dataset:
    """A random part of the dataset with its bytes in memory, of a bounded size."""
    rows = np.random.default_rng(seed).permutation(dataset.rows)[:MEMORY_IMAGES]
    total = np.cumsum(dataset.columns.numbers("size")[0][rows])
    rows = np.sort(rows[: max(1, int(np.searchsorted(total, MEMORY_BYTES)))])
    return Dataset(MemoryStore(dataset, rows), dataset.info, dataset.columns, rows)


def long_enough(dataset: Dataset, batch_size: int) -> Dataset:
    """The dataset, each sample repeated when there are few: the beginning and end of an epoch must not weigh."""
    repeats = -(-LONG_EPOCH * batch_size // max(1, len(dataset)))
    if repeats <= 1:
        return dataset
    return Dataset(dataset.store, dataset.info, dataset.columns, np.repeat(dataset.rows, repeats))


class Loading:
    """One loader whose speed is measured in several turns, so that turns of others can come between.

    At the beginning of each turn, batches that the loader had ready are handed over before the clock starts.
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
