"""genimage-stream with the transform's steps: C++ threads in this process, no worker processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.peers import Work
from benchmarks.transformed import TRANSFORMS, steps

TITLE = "genimage-stream"
PACKAGES = ("genimage-stream", "torch")
REQUIREMENTS: tuple[str, ...] = ()


def open_stream(work: Work) -> Callable[[], Iterator[tuple[Any, Any]]]:
    import genimage_stream as gs

    loader = gs.Loader(
        gs.open_dataset(work.dataset).select(splits=["train"]),
        batch_size=work.batch_size,
        transform=steps(work.transform),
        normalize=TRANSFORMS[work.transform].normalize,
        seed=work.seed,
        threads=work.workers,
        output="float32",
    )

    def epoch() -> Iterator[tuple[Any, Any]]:
        for batch in loader:
            yield batch.images, batch.labels

    return epoch
