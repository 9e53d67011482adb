"""MosaicML Streaming: shards converted to MDS, the files' own bytes kept in them, decoded with Pillow.

As its documentation recommends: MDSWriter with raw bytes (re-encoding would lose pixels), StreamingDataset with its
default shuffle and batch_size given, torch's DataLoader with persistent workers. Its page on performance tuning calls
the other defaults right for most.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.peers import Work
from benchmarks.peers.tars import samples

TITLE = "MosaicML Streaming + Pillow"
PACKAGES = ("mosaicml-streaming", "pillow", "torch")
# Its own list asks for an older NumPy and for packages of other modalities and clouds; these are what it imports here.
NO_DEPENDENCIES = ("mosaicml-streaming==0.13.0",)
REQUIREMENTS = (
    "transformers==4.57.6",
    "brotli",
    "catalogue",
    "python-snappy",
    "tqdm",
    "xxhash",
    "zstd",
    "matplotlib",
    "boto3",
)


def without_vision() -> None:
    """Its ready-made vision datasets import torchvision, which nothing here needs: they are left out of the package."""
    sys.modules.setdefault("streaming.vision", ModuleType("streaming.vision"))


def prepare(work: Work) -> None:
    without_vision()
    from streaming import MDSWriter

    output = Path(work.scratch) / "mds"
    if (output / "index.json").exists():
        return
    with MDSWriter(out=str(output), columns={"image": "bytes", "label": "int"}, exist_ok=True) as writer:
        for _, image, label in samples(work):
            writer.write({"image": image, "label": label})


def open_stream(work: Work) -> Callable[[], Iterator[tuple[Any, Any]]]:
    without_vision()
    import torch
    from streaming import StreamingDataset
    from streaming.base.util import clean_stale_shared_memory
    from torch.utils.data import DataLoader

    from genimage_stream.bench.peers import pixels

    class Images(StreamingDataset):  # type: ignore[misc]
        def __getitem__(self, index: Any) -> tuple[Any, int]:
            sample = super().__getitem__(index)
            return pixels.pillow_window(sample["image"], work.crop), sample["label"]

    clean_stale_shared_memory()
    torch.set_num_threads(1)
    dataset = Images(local=str(Path(work.scratch) / "mds"), shuffle=True, batch_size=work.batch_size)
    loader: Any = DataLoader(
        dataset,
        batch_size=work.batch_size,
        num_workers=work.workers,
        collate_fn=pixels.collate,
        persistent_workers=True,
    )
    return lambda: iter(loader)
