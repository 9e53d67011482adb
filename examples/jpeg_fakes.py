"""Batches in which the fakes went through JPEG as the reals did, so that a detector cannot learn the file format.

    for images, labels in without_format(loader, qualities): ...

Needs Pillow. `python examples/jpeg_fakes.py shards` runs an epoch of it.
"""

from __future__ import annotations

import io
import random
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from PIL import Image

import genimage_stream as gs

MARGIN = 32  # a multiple of 8: after the second cut the grid of 8 x 8 blocks begins anywhere, as it does in the reals


def compressed(image: torch.Tensor, quality: int) -> torch.Tensor:
    """A (3, height, width) uint8 image after a round trip through JPEG, with Pillow's halved chroma (4:2:0)."""
    file = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality)
    return torch.from_numpy(gs.decode(file.getvalue())).permute(2, 0, 1)


def without_format(
    loader: gs.Loader, qualities: Sequence[int], *, window: int = 224, seed: int = 0
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Images (n, 3, window, window) uint8 and labels (n,), from a loader of uint8 windows of `window + MARGIN`.

    What is drawn for a sample follows from seed, epoch and key alone: the same on any number of ranks, and after a
    resume.
    """

    def finished(sample: tuple[torch.Tensor, int, str]) -> torch.Tensor:
        image, label, name = sample
        chance = random.Random(name)
        quality, x, y = chance.choice(qualities), chance.randrange(MARGIN), chance.randrange(MARGIN)
        image = compressed(image, quality) if label == 1 else image
        return image[:, y : y + window, x : x + window]

    with ThreadPoolExecutor() as threads:
        for batch in loader:
            names = [f"{seed} {batch.epoch} {key}" for key in batch.keys]
            samples = zip(batch.images, batch.labels.tolist(), names, strict=True)
            yield torch.stack(list(threads.map(finished, samples))), batch.labels


def main() -> None:
    train = gs.open_dataset(sys.argv[1]).select(generators=["sd14"], splits=["train"])
    found = train.select(labels=["real"]).table(["jpeg_quality"])["jpeg_quality"].to_pylist()
    qualities = [quality for quality in found if quality is not None]  # drawn from as often as the reals have them
    loader = gs.Loader(train, batch_size=64, crop=224 + MARGIN, flip=True)
    for images, labels in without_format(loader, qualities):
        print(tuple(images.shape), f"{int(labels.sum())} fakes")


if __name__ == "__main__":
    main()
