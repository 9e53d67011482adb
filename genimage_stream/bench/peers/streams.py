"""PyTorch's DataLoader and webdataset over the same shards, as their documentation recommends."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from genimage_stream.decode.webdataset_handler import IMAGE_SUFFIXES

PREFETCH = 2  # batches that each worker keeps ready, the default of both

Decode = Callable[[bytes], Any]
Collate = Callable[[list[tuple[Any, int]]], tuple[Any, Any]]
Numbers = npt.NDArray[np.int64]


class Ranges(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """A map-style dataset over tars: of each sample its shard's place in `files`, offset, size and label, (n,) each.

    A file is opened for each sample: there may be more shards than a process may have open, and it costs little.
    """

    def __init__(self, files: Sequence[str], places: Sequence[Numbers], decode: Decode) -> None:
        self._files, self._places, self._decode = files, places, decode

    def __len__(self) -> int:
        return len(self._places[0])

    def __getitem__(self, row: int) -> tuple[Any, int]:
        shard, offset, size, label = (int(column[row]) for column in self._places)
        descriptor = os.open(self._files[shard], os.O_RDONLY)
        try:
            data = os.pread(descriptor, size, offset)
        finally:
            os.close(descriptor)
        return self._decode(data), label


class Endless(torch.utils.data.Sampler[int]):
    """Every row once, in a random order, again and again."""

    def __init__(self, rows: int, seed: int) -> None:
        self._rows, self._seed = rows, seed

    def __iter__(self) -> Iterator[int]:
        chance = np.random.default_rng(self._seed)
        while True:
            yield from chance.permutation(self._rows).tolist()


def dataloader(dataset: Ranges, *, batch_size: int, workers: int, seed: int, collate: Collate, endless: bool) -> Any:
    """Workers that stay for the next epoch, batches put together in them, one epoch each time it is iterated over, or
    the only one, which has no end."""
    torch.set_num_threads(1)  # the workers inherit it: processes are the parallelism here
    order: dict[str, Any] = {"sampler": Endless(len(dataset), seed)} if endless else {"shuffle": True}
    return torch.utils.data.DataLoader(
        dataset,
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=collate,
        persistent_workers=True,
        prefetch_factor=PREFETCH,
        generator=torch.Generator().manual_seed(seed),
        **order,
    )


def webdataset(
    shards: Sequence[str],
    *,
    batch_size: int,
    workers: int,
    seed: int,
    decode: Decode,
    collate: Collate,
    endless: bool,
) -> Any:
    """Shards divided among the workers, or, endless, drawn by each of them; samples shuffled in a buffer; batches made
    in the workers, which stay for the next epoch."""
    import webdataset as wds

    torch.set_num_threads(1)
    order: dict[str, Any] = {"resampled": True} if endless else {"shardshuffle": len(shards), "nodesplitter": None}
    dataset = (
        wds.WebDataset(list(shards), seed=seed, **order)
        .shuffle(500)
        .to_tuple(";".join(sorted(IMAGE_SUFFIXES)), "cls")
        .map(partial(_sample, decode=decode))
        .batched(batch_size, collation_fn=collate, partial=True)
    )
    return wds.WebLoader(
        dataset,
        batch_size=None,
        shuffle=False,
        num_workers=workers,
        persistent_workers=True,
        prefetch_factor=PREFETCH,
        multiprocessing_context="fork",  # functions within functions cannot be sent, as Python 3.14 would by default
    )


def _sample(row: tuple[bytes, bytes], decode: Decode) -> tuple[Any, int]:
    return decode(row[0]), int(row[1])
