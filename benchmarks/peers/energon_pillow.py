"""Megatron Energon on the same shards, decoded with Pillow in its cooker.

As its documentation recommends for WebDatasets of one's own: a crude dataset prepared in place, a task encoder with a
cooker, get_train_dataset with a shuffle buffer and its quick start's max_samples_per_sequence, get_loader with workers,
batches put together and normalised in them. It repeats indefinitely and its loader keeps one iterator, so an epoch is
cut off after its images, and the batches that its workers fetched ahead meanwhile are taken away before the next.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.peers import Endless, Work

TITLE = "Energon + Pillow"
PACKAGES = ("megatron-energon", "pillow", "torch")
REQUIREMENTS = ("megatron-energon==7.4.1",)
PREFETCH = 2  # batches of each worker, its default


def prepare(work: Work) -> None:
    from megatron.energon.flavors.webdataset import BaseWebdatasetFactory

    root = Path(work.scratch) / "shards"
    if (root / ".nv-meta" / "dataset.yaml").exists():
        return
    root.mkdir(parents=True, exist_ok=True)
    for shard in work.shards:
        link = root / Path(shard).name
        if not link.exists():
            shutil.copy(shard, link)
    names = sorted(Path(shard).name for shard in work.shards)
    BaseWebdatasetFactory.prepare_dataset(
        root, names, split_parts_ratio=[("train", 1.0)], progress_fn=lambda items, _total: items, workers=work.workers
    )
    (root / ".nv-meta" / "dataset.yaml").write_text("__module__: megatron.energon\n__class__: CrudeWebdataset\n")


def open_stream(work: Work) -> Callable[[], Iterator[tuple[Any, Any]]]:
    import torch
    from megatron.energon import Cooker, DefaultTaskEncoder, WorkerConfig, get_loader, get_train_dataset, stateless

    from genimage_stream.bench.peers import pixels

    @stateless  # type: ignore[untyped-decorator]
    def cook(sample: dict[str, Any]) -> dict[str, Any]:
        image: bytes = sample["jpg"] if "jpg" in sample else sample["png"]
        return {**sample, "image": pixels.pillow_window(image, work.crop), "label": int(sample["cls"])}

    class Encoder(DefaultTaskEncoder):  # type: ignore[misc]
        decoder = None
        cookers = (Cooker(cook),)

        def encode_sample(self, sample: Any) -> Any:
            return sample

        def batch(self, rows: list[Any]) -> tuple[Any, Any]:
            return pixels.collate([(row["image"], row["label"]) for row in rows])

        def encode_batch(self, batch: Any) -> Any:
            return batch

    torch.set_num_threads(1)
    dataset = get_train_dataset(
        Path(work.scratch) / "shards",
        task_encoder=Encoder(),
        batch_size=work.batch_size,
        shuffle_buffer_size=500,
        max_samples_per_sequence=100,
        worker_config=WorkerConfig(rank=0, world_size=1, num_workers=work.workers),
    )
    endless = iter(get_loader(dataset, prefetch_factor=PREFETCH))
    return Endless(endless, work.images, PREFETCH * work.workers)
