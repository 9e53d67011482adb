"""LitData: shards converted by `optimize` to its chunks, the files' own bytes kept in them, decoded with Pillow.

As its README recommends for images that are decoded on the fly: StreamingDataset(shuffle=True), StreamingDataLoader
with workers. Chunks as large as the shards of this benchmark: of the README's 64 MB there would be two or three for
each worker here, and the worker whose chunk holds the largest images would keep the other waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.peers import Work
from benchmarks.peers.tars import samples

TITLE = "LitData + Pillow"
PACKAGES = ("litdata", "pillow", "torch")
REQUIREMENTS = ("litdata==0.2.76",)
CHUNKS = "chunks-16MB"


def one_shard(arguments: tuple[str, Work]) -> Iterator[dict[str, Any]]:
    shard, work = arguments
    for _, image, label in samples(Work(work.dataset, (shard,), work.images, work.scratch)):
        yield {"image": image, "label": label}


def decode(sample: dict[str, Any], crop: int) -> tuple[Any, int]:
    from genimage_stream.bench.peers import pixels

    return pixels.pillow_window(sample["image"], crop), sample["label"]


def prepare(work: Work) -> None:
    import litdata

    output = Path(work.scratch) / CHUNKS
    if (output / "index.json").exists():
        return
    litdata.optimize(
        fn=one_shard,
        inputs=[(shard, work) for shard in work.shards],
        output_dir=str(output),
        chunk_bytes="16MB",
        num_workers=work.workers,
    )


def open_stream(work: Work) -> Callable[[], Iterator[tuple[Any, Any]]]:
    import litdata
    import torch

    from genimage_stream.bench.peers import pixels

    torch.set_num_threads(1)
    loader = litdata.StreamingDataLoader(
        litdata.StreamingDataset(
            str(Path(work.scratch) / CHUNKS), shuffle=True, seed=work.seed, transform=partial(decode, crop=work.crop)
        ),
        batch_size=work.batch_size,
        num_workers=work.workers,
        collate_fn=pixels.collate,
        persistent_workers=True,
    )
    return lambda: iter(loader)
