"""The loaders that know a transform, on the training images of the plain shards of GenImage's mix."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.comparison import Comparison
from benchmarks.data import packed
from benchmarks.peers import Work
from benchmarks.transformed import TRANSFORMS


class Transformed(Comparison):
    """Ratios of its table are to what is published."""

    baseline = "as published"

    def __init__(self, name: str, threads: int, rounds: int) -> None:
        self.transform = TRANSFORMS[name]
        super().__init__(name, self.transform.peers, threads, rounds)

    def _work(self, peers: Sequence[str], threads: int) -> Work:
        import genimage_stream as gs

        shards = packed()
        tars = tuple(str(path) for path in sorted(shards.glob("*/train/*.tar")))
        dataset = gs.open_dataset(shards).select(splits=["train"])
        sizes = dataset.access.take(dataset.access.columns.numbers("size")[0])
        self.bytes_per_image = round(float(sizes.mean()))
        return Work(str(shards), tars, len(dataset), "", crop=self.transform.side, workers=threads, transform=self.name)
