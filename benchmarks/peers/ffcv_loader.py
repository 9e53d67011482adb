"""FFCV: shards converted to a .beton of JPEG-coded images at full size, random crops decoded by its own pipeline.

Building it needs OpenCV's and libturbojpeg's development files and a CUDA-enabled cupy; where that cannot be had the
peer is listed as not installed. PNG pixels are re-encoded as JPEG (FFCV stores JPEG or raw arrays), so its work is
not the same: no PNG is ever decoded.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.peers import MEAN, STD, Work
from benchmarks.peers.tars import samples

TITLE = "FFCV (PNGs re-encoded as JPEG)"
PACKAGES = ("ffcv", "torch")
REQUIREMENTS = ("ffcv==1.0.2",)


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

    path = Path(work.scratch) / "images.beton"
    if path.exists():
        return
    fields = {"image": RGBImageField(write_mode="jpg", jpeg_quality=96), "label": IntField()}
    DatasetWriter(str(path), fields, num_workers=work.workers).from_indexed_dataset(Rows(work))


def open_stream(work: Work) -> Callable[[], Iterator[tuple[Any, Any]]]:
    import numpy as np
    from ffcv.fields.decoders import IntDecoder, RandomResizedCropRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import NormalizeImage, RandomHorizontalFlip, Squeeze, ToTensor, ToTorchImage

    scale = np.array([255.0])
    loader = Loader(
        str(Path(work.scratch) / "images.beton"),
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
