"""What comes beside the images of a batch: arrays by key, and the batch of a second dataset."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from genimage_stream.backends.finishing import kept
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
    batches of the epoch `pairs`. `rows_of` turns places in the dataset into rows of the index, `pair_places` into those
    of their pairs in the second dataset. A sample is left out where its image or its pair's was skipped, which
    `left_out` is told."""

    def __init__(
        self,
        epoch: Epoch,
        arrays: ArrayReader | None,
        batches: Iterator[Rows],
        ahead: int,
        rows_of: Callable[[Rows], Rows],
        pairs: Epoch | None,
        pair_places: Callable[[Rows], Rows],
        left_out: Callable[[int], None],
    ) -> None:
        self._epoch, self._pairs = epoch, pairs
        self._pair_places, self._left_out = pair_places, left_out
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
            if pair is not None:
                batch, pair = self._both(batch, pair)
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

    def _both(self, batch: Batch, pair: Batch) -> tuple[Batch, Batch]:
        """Both batches without samples that the other one lacks."""
        expected, found = self._pair_places(batch.rows.numpy()), pair.rows.numpy()
        if np.array_equal(expected, found):
            return batch, pair
        here = np.isin(expected, found)
        self._left_out(int(np.count_nonzero(~here)))
        return _only(batch, here), _only(pair, np.isin(found, expected))

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


def _only(batch: Batch, keep: npt.NDArray[np.bool_]) -> Batch:
    """The samples of a batch for which `keep` (n,) holds."""
    of_samples = torch.from_numpy(keep)
    view_of = batch.view_of
    if view_of is None:
        pictures = tuple(batch.images.shape[1:-3])
        flat = batch.images.flatten(0, -4) if pictures else batch.images
        images = kept(flat, keep.repeat(int(np.prod(pictures, dtype=np.int64))))
        images = images.view(int(keep.sum()), *pictures, *images.shape[1:])
    else:
        images = kept(batch.images, keep[view_of.numpy()])
        view_of = (of_samples.cumsum(0) - 1)[view_of][of_samples[view_of]]
    return Batch(
        images=images,
        labels=batch.labels[of_samples],
        generators=batch.generators[of_samples],
        subsets=batch.subsets[of_samples],
        rows=batch.rows[of_samples],
        keys=[key for key, wanted in zip(batch.keys, keep.tolist(), strict=True) if wanted],
        view_of=view_of,
        epoch=batch.epoch,
        step=batch.step,
        degradations=batch.degradations,
        normalization=batch.normalization,
    )
