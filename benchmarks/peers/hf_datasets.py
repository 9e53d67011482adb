"""Hugging Face datasets, streamed, decoded with Pillow in a map.

Its webdataset builder takes the samples of a shard to have the same members and refuses shards that mix .jpg and .png,
so the same bytes are given to it as Arrow files, the format of its own cache, which its documentation calls the fastest
to load. Not as Parquet: after every epoch of shuffled Parquet its workers sleep for five seconds (version 5.2.0, on
account of a fault in Arrow), a fifth of an epoch here. As its page on PyTorch recommends: an iterable dataset for
speed, more files than workers so that each has its own, approximate shuffling in a buffer, torch's DataLoader with
workers that are kept; the bytes are decoded once, cut, and then copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.peers import Work
from benchmarks.peers.tars import samples

TITLE = "HF datasets + Pillow"
PACKAGES = ("datasets", "pillow", "torch")
REQUIREMENTS = ("datasets==5.2.0",)


def prepare(work: Work) -> None:
    import pyarrow as pa

    folder = Path(work.scratch) / "arrow"
    folder.mkdir(parents=True, exist_ok=True)
    for number, shard in enumerate(work.shards):
        path = folder / f"{number:05}.arrow"
        if path.exists():
            continue
        rows = list(samples(Work(work.dataset, (shard,), work.images, work.scratch)))
        table = pa.table(
            {
                "image": [{"bytes": image, "path": name} for name, image, _ in rows],
                "label": [label for *_, label in rows],
            }
        )
        with pa.ipc.new_stream(path.with_suffix(".part"), table.schema) as writer:
            writer.write_table(table, max_chunksize=100)
        path.with_suffix(".part").rename(path)


def open_stream(work: Work) -> Callable[[], Iterator[tuple[Any, Any]]]:
    import datasets
    import torch
    from torch.utils.data import DataLoader

    from genimage_stream.bench.peers import pixels

    def transform(row: dict[str, Any]) -> dict[str, Any]:
        return {"image": pixels.pillow_window(row["image"]["bytes"], work.crop), "label": row["label"]}

    def collate(rows: list[dict[str, Any]]) -> tuple[Any, Any]:
        return pixels.collate([(row["image"], row["label"]) for row in rows])

    torch.set_num_threads(1)
    files = sorted(str(path) for path in (Path(work.scratch) / "arrow").glob("*.arrow"))
    stream = datasets.load_dataset("arrow", data_files={"train": files}, split="train", streaming=True)
    stream = stream.shuffle(seed=work.seed, buffer_size=500).map(transform)
    loader = DataLoader(
        stream,
        batch_size=work.batch_size,
        num_workers=work.workers,
        collate_fn=collate,
        persistent_workers=True,
    )
    return lambda: iter(loader)
