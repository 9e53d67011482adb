"""FFCV: shards converted to a .beton at full size, random crops by its own compiled pipeline.

As its documentation recommends where the CPU is the bottleneck: half of the images as raw pixels, the others as JPEG of
quality 90 (the proportion and quality of its ImageNet recipe, which also shrinks images to 500 pixels; here they keep
their size), random order out of the page cache, augmentation and normalisation in compiled code. So its work is not
the same: no PNG is ever decoded, pixels of the JPEGs are lossy, the file is several times as large, and its random
crop for images of varying sizes resizes. It makes one batch at a time, its images shared out among the threads
beforehand, so that a thread with fewer of the large JPEGs waits; no option of its loader changes that. Building it
needs OpenCV's and libturbojpeg's development files; where that cannot be had the peer is listed as not installed.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.peers import MEAN, STD, Work
from benchmarks.peers.tars import samples

TITLE = "FFCV (half raw pixels, half JPEG)"
PACKAGES = ("ffcv", "torch")
REQUIREMENTS = ("ffcv==1.0.2",)
WARM_UP = 4  # it compiles its pipeline in the first epoch and reads its file by pages in the next ones


class Rows:
    """A list of (image, label) as FFCV's writer wants it."""

    def __init__(self, work: Work) -> None:
        self.rows = [(image, label) for _, image, label in samples(work)]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        from PIL import Image

        image, label = self.rows[index]
        return Image.open(io.BytesIO(image)).convert("RGB"), label


def prepare(work: Work) -> None:
    from ffcv.fields import IntField, RGBImageField
    from ffcv.writer import DatasetWriter

    path = Path(work.scratch) / "half-raw.beton"
    if path.exists():
        return
    image = RGBImageField(write_mode="proportion", compress_probability=0.5, jpeg_quality=90)
    fields = {"image": image, "label": IntField()}
    DatasetWriter(str(path), fields, num_workers=work.workers).from_indexed_dataset(Rows(work))


def open_stream(work: Work) -> Callable[[], Iterator[tuple[Any, Any]]]:
    import numpy as np
    from ffcv.fields.decoders import IntDecoder, RandomResizedCropRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import NormalizeImage, RandomHorizontalFlip, Squeeze, ToTensor, ToTorchImage

    scale = np.array([255.0])
    loader = Loader(
        str(Path(work.scratch) / "half-raw.beton"),
        batch_size=work.batch_size,
        num_workers=work.workers,
        order=OrderOption.RANDOM,
        drop_last=False,
        pipelines={
            "image": [
                RandomResizedCropRGBImageDecoder((work.crop, work.crop)),
                RandomHorizontalFlip(),
                NormalizeImage(scale * MEAN, scale * STD, np.float32),
                ToTensor(),
                ToTorchImage(),
            ],
            "label": [IntDecoder(), ToTensor(), Squeeze(1)],
        },
    )
    return lambda: iter(loader)
