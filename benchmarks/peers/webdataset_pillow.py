"""webdataset + Pillow: the way GenImage is usually read once it is in tar shards.

As webdataset's documentation recommends: shards split over the DataLoader's workers, samples shuffled in a buffer,
batches made inside the workers and handed over whole, workers kept for the next epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from benchmarks.peers import Work

TITLE = "webdataset + Pillow"
PACKAGES = ("webdataset", "pillow", "torch")
REQUIREMENTS: tuple[str, ...] = ()


def sample(row: tuple[bytes, bytes], decode: Callable[[bytes], Any]) -> tuple[Any, int]:
    return decode(row[0]), int(row[1])


def open_stream(work: Work, decode_window: Callable[..., Any] | None = None) -> Callable[[], Iterator[tuple[Any, Any]]]:
    from benchmarks.peers import pixels

    return stream(work, partial(decode_window or pixels.pillow_window, side=work.crop), pixels.collate)


def stream(
    work: Work, decode: Callable[[bytes], Any], collate: Callable[[list[tuple[Any, int]]], tuple[Any, Any]]
) -> Callable[[], Iterator[tuple[Any, Any]]]:
    """`decode` makes one image of its bytes, `collate` a batch of images and labels; both run in the workers."""
    import torch
    import webdataset as wds

    torch.set_num_threads(1)  # the workers inherit it: processes are the parallelism here
    dataset = (
        wds.WebDataset(list(work.shards), shardshuffle=len(work.shards), nodesplitter=None, seed=work.seed)
        .shuffle(500)
        .to_tuple("jpg;png", "cls")
        .map(partial(sample, decode=decode))
        .batched(work.batch_size, collation_fn=collate, partial=True)
    )
    loader = wds.WebLoader(
        dataset,
        batch_size=None,
        shuffle=False,
        num_workers=work.workers,
        persistent_workers=True,
        prefetch_factor=2,
        multiprocessing_context="fork",  # functions within functions cannot be sent, as Python 3.14 would by default
    )
    return lambda: iter(loader)
