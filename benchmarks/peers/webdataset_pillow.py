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


def open_stream(work: Work, decode_window: Callable[..., Any] | None = None) -> Callable[[], Iterator[tuple[Any, Any]]]:
    from genimage_stream.bench.peers import pixels

    return stream(work, partial(decode_window or pixels.pillow_window, side=work.crop), pixels.collate)


def stream(
    work: Work, decode: Callable[[bytes], Any], collate: Callable[[list[tuple[Any, int]]], tuple[Any, Any]]
) -> Callable[[], Iterator[tuple[Any, Any]]]:
    """`decode` makes one image of its bytes, `collate` a batch of images and labels; both run in the workers."""
    from genimage_stream.bench.peers import streams

    loader = streams.webdataset(
        work.shards,
        batch_size=work.batch_size,
        workers=work.workers,
        seed=work.seed,
        decode=decode,
        collate=collate,
        endless=False,
    )
    return lambda: iter(loader)
