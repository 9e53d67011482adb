"""What comes beside the images of a batch: arrays by key, and the batch of a second dataset."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from genimage_stream.dataset.arrays import Arrays
from genimage_stream.loading.batch import Batch

if TYPE_CHECKING:
    from genimage_stream.dataset.access import Access
    from genimage_stream.loading.epoch import Epoch
    from genimage_stream.loading.options import LoaderOptions

Rows = npt.NDArray[np.int64]
_THREADS = 2


def open_arrays(options: LoaderOptions, access: Access) -> dict[str, Arrays]:
    """Those of `with_arrays`, by name. Raises ValueError where a sample of the dataset has none."""
    if not options.with_arrays:
        return {}
    keys = access.columns.keys(access.rows)
    return {name: Arrays(name, str(path), keys) for name, path in options.with_arrays.items()}


class ArrayReader:
    """Reads arrays of samples, rows of the index, in threads."""

    def __init__(self, access: Access, arrays: Mapping[str, Arrays]) -> None:
        self._columns, self._arrays = access.columns, arrays
        self._threads = ThreadPoolExecutor(_THREADS, "genimage-stream-arrays")

    def submit(self, rows: Rows) -> Future[dict[str, torch.Tensor]]:
        return self._threads.submit(self.read, rows)

    def read(self, rows: Rows) -> dict[str, torch.Tensor]:
        """Tensors (n, *shape) by name."""
        keys = self._columns.keys(rows)
        return {name: torch.from_numpy(arrays.read(keys)) for name, arrays in self._arrays.items()}


class Company(Iterator[Batch]):
    """An epoch whose batches bring others along: `arrays` of `batches`, the rows of each batch that comes, and the
    batches of the epoch `pairs`. `rows_of` turns places in the dataset into rows of the index."""

    def __init__(
        self,
        epoch: Epoch,
        arrays: ArrayReader | None,
        batches: Iterator[Rows],
        ahead: int,
        rows_of: Callable[[Rows], Rows],
        pairs: Epoch | None,
    ) -> None:
        self._epoch, self._pairs = epoch, pairs
        self._arrays, self._batches, self._ahead, self._rows_of = arrays, batches, ahead, rows_of
        self._reading: deque[tuple[int, Future[dict[str, torch.Tensor]]]] = deque()

    @property
    def left(self) -> int:
        """Batches that are still to come."""
        return self._epoch.left

    def __next__(self) -> Batch:
        try:
            self._read_ahead()
            # First the pair: the epoch's progress counts a batch when the epoch gives it.
            pair = None if self._pairs is None else next(self._pairs, None)
            batch = next(self._epoch)
            batch.pairs = pair
            if self._arrays is not None:
                planned, future = self._reading.popleft()
                found = future.result()
                # Without samples that were skipped.
                whole = len(batch) == planned
                batch.arrays = found if whole else self._arrays.read(self._rows_of(batch.rows.numpy()))
        except BaseException:
            self.close()
            raise
        return batch

    def _read_ahead(self) -> None:
        while self._arrays is not None and len(self._reading) <= self._ahead:
            rows = next(self._batches, None)
            if rows is None:
                return
            self._reading.append((len(rows), self._arrays.submit(rows)))

    def close(self) -> None:
        """Stop: nothing of this epoch is worked on any more when this returns."""
        for _, future in self._reading:
            future.cancel()
        self._reading.clear()
        self._epoch.close()
        if self._pairs is not None:
            self._pairs.close()
