"""One loader in a process of its own, which loads for a while whenever it is asked to (see ../process.py).

Requests are {"do": "turn", "seconds": s}; the answer says how many images came in how long.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from genimage_stream.bench.peers import pixels, streams
from genimage_stream.bench.peers.work import Work
from genimage_stream.bench.process import Answer, Request, serve
from genimage_stream.bench.rate import now


class Stream(NamedTuple):
    """Batches without end; how many may be ready before they are asked for, and how many come at the same time."""

    batches: Iterator[tuple[Any, Any]]
    ahead: int
    together: int = 1


def ours(work: Work) -> Stream:
    from genimage_stream.bench.loading import long_enough
    from genimage_stream.dataset.opening import open_dataset
    from genimage_stream.loading.loader import Loader

    dataset = open_dataset(work.dataset).select(generators=work.generators, splits=work.splits)
    output: Any = work.output
    loader = Loader(
        long_enough(dataset, work.batch_size),
        batch_size=work.batch_size,
        crop=work.crop,
        flip=True,
        output=output,
        seed=work.seed,
        threads=work.workers,
        rank=0,
        world_size=1,
        on_error="skip",
    )

    def batches() -> Iterator[tuple[Any, Any]]:
        while True:
            for batch in loader:
                yield batch.images, batch.labels

    return Stream(batches(), loader.prefetch + 1)


def open_stream(name: str, work: Work) -> Stream:
    """The loader of this name in `league.py`."""
    if name == "ours":
        return ours(work)
    library, decoder = name.split("_")
    if decoder == "pillow":
        decode: streams.Decode = partial(pixels.pillow_window, side=work.crop)
    else:
        decode = partial(pixels.fastest_window, side=work.crop, parts=work.parts)
    options: dict[str, Any] = {
        "batch_size": work.batch_size,
        "workers": work.workers,
        "seed": work.seed,
        "collate": partial(pixels.collate, output=work.output),
        "endless": True,
    }
    if library == "webdataset":
        loader = streams.webdataset(work.shards, decode=decode, **options)
    else:
        with np.load(work.samples) as samples:
            places = [samples[column] for column in ("shard", "offset", "size", "label")]
        loader = streams.dataloader(streams.Ranges(work.shards, places, decode), **options)
    # Workers that start together end together; what they were at when the turn before ended is not counted either.
    return Stream(iter(loader), (streams.PREFETCH + 1) * work.workers, work.workers)


def turn(stream: Stream, work: Work, seconds: float) -> Answer:
    """Load for about this long, after what was ready before; checks that the work that was asked for was done."""
    for _ in range(stream.ahead):
        next(stream.batches)
    images = batches = 0
    begin = now()
    while (spent := now() - begin) < seconds or batches % stream.together or not batches:
        pixels, labels = next(stream.batches)
        shape = tuple(pixels.shape)
        if shape != (len(labels), 3, work.crop, work.crop) or str(pixels.dtype) != f"torch.{work.output}":
            raise ValueError(f"a batch of {shape} {pixels.dtype} with {len(labels)} labels is not what was asked for")
        images += len(labels)
        batches += 1
    return {"images": images, "seconds": spent}


def start() -> tuple[Answer, Callable[[Request], Answer]]:
    """Open the loader that the command line names."""
    name, path = sys.argv[1:3]
    work = Work.load(Path(path))
    stream = open_stream(name, work)
    return {}, lambda request: turn(stream, work, request["seconds"])


def main() -> None:
    serve(start)
