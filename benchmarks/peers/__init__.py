"""Other loaders doing the same work behind one interface; a file each.

The work: every image of the shards once per epoch, in shuffled order as far as the peer shuffles; a random square
window of the full-resolution image (an image smaller than the window is tiled first), mirrored with probability one
half, as normalised float32 batches. Each peer is configured as its own documentation recommends; the file says how.

A peer is a module of this package with

* `TITLE`: what tables call it; `PACKAGES`: the distributions whose versions count;
* `REQUIREMENTS`: what has to be installed in an environment of its own, empty when the development environment will do;
* `WARM_UP`, optional: epochs before it runs at its full speed, 1 unless said otherwise;
* `prepare(work)`, optional: converts the shards into the peer's own format under `work.scratch`; not timed;
* `open_stream(work)`: returns a callable; each call is one epoch, an iterator over `(images, labels)`. The clock runs
  from the call to the last batch. A peer that keeps fetching between epochs has a method `settle()` on the callable,
  called before the clock: it takes away what was fetched ahead, so that no epoch is begun with work already done. That
  it fetches at the cost of the next peer, the harness prevents: the next turn begins when the peer is idle.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

#: ImageNet's, as every peer normalises: (pixel / 255 - mean) / std per channel.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

#: In the order of the tables.
PEERS = (
    "ours",
    "ours_crop_ready",
    "webdataset_pillow",
    "webdataset_pillow_simd",
    "webdataset_opencv",
    "webdataset_fastest",
    "dataloader_fastest",
    "loose_files_pillow",
    "dali",
    "dali_crop",
    "litdata_pillow",
    "streaming_pillow",
    "spdl_ffmpeg",
    "hf_datasets",
    "energon_pillow",
    "ffcv_loader",
)


@dataclass(frozen=True)
class Work:
    """What every peer is given. Paths are absolute."""

    dataset: str  # DST of shard-tools pack
    shards: tuple[str, ...]
    images: int  # in one epoch
    scratch: str  # a folder of the peer's own
    crop_ready: str = ""  # the same images packed with --crop-ready, or ""
    crop: int = 224
    batch_size: int = 64
    workers: int = 2  # threads or processes
    seed: int = 0
    transform: str = ""  # of benchmarks.transformed: in place of the crop and the flip

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> Work:
        fields = json.loads(path.read_text())
        return cls(**{**fields, "shards": tuple(fields["shards"])})


class Endless:
    """Epochs of `images` images cut out of a stream that never ends and keeps `ahead` batches ready."""

    def __init__(self, batches: Iterator[tuple[Any, Any]], images: int, ahead: int) -> None:
        self._batches, self._images, self._ahead = batches, images, ahead
        self._begun = False

    def settle(self) -> None:
        """Take away what was fetched ahead, if anything was."""
        for _ in range(self._ahead if self._begun else 0):
            next(self._batches)

    def __call__(self) -> Iterator[tuple[Any, Any]]:
        self._begun = True
        left = self._images
        while left > 0:
            images, labels = next(self._batches)
            yield images[:left], labels[:left]
            left -= len(labels)
