"""genimage-stream with its defaults: C++ threads in this process, no worker processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.peers import Work

TITLE = "genimage-stream"
PACKAGES = ("genimage-stream", "torch")
REQUIREMENTS: tuple[str, ...] = ()


def open_stream(work: Work, dataset: str = "") -> Callable[[], Iterator[tuple[Any, Any]]]:
    import genimage_stream as gs

    loader = gs.Loader(
        gs.open_dataset(dataset or work.dataset),
        batch_size=work.batch_size,
        crop=work.crop,
        seed=work.seed,
        threads=work.workers,
        output="float32",
        flip=True,
    )

    def epoch() -> Iterator[tuple[Any, Any]]:
        for batch in loader:
            yield batch.images, batch.labels

    return epoch
