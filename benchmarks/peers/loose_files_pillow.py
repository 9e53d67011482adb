"""torch's DataLoader over loose files + Pillow: GenImage as it is unzipped, read as ImageFolder reads it.

As PyTorch's performance guide recommends: several workers, kept for the next epoch, batches put together in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.peers import Work
from benchmarks.peers.tars import samples

TITLE = "DataLoader, loose files + Pillow"
PACKAGES = ("torch", "pillow")
REQUIREMENTS: tuple[str, ...] = ()
LABELS = ("0_real", "1_fake")


def prepare(work: Work) -> None:
    root = Path(work.scratch) / "files"
    done = root / "done"
    if done.exists():
        return
    for folder in LABELS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name, image, label in samples(work):
        (root / LABELS[label] / Path(name).name).write_bytes(image)
    done.touch()


class Files:
    """A map-style dataset of (image (3, crop, crop) uint8, label)."""

    def __init__(self, root: Path, crop: int) -> None:
        self.files = [(str(p), i) for i, label in enumerate(LABELS) for p in sorted((root / label).iterdir())]
        self.crop = crop

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        from genimage_stream.bench.peers import pixels

        path, label = self.files[index]
        return pixels.pillow_window(Path(path).read_bytes(), self.crop), label


def open_stream(work: Work) -> Callable[[], Iterator[tuple[Any, Any]]]:
    import torch
    from torch.utils.data import DataLoader

    from genimage_stream.bench.peers import pixels

    torch.set_num_threads(1)
    loader: Any = DataLoader(
        Files(Path(work.scratch) / "files", work.crop),  # type: ignore[arg-type]
        batch_size=work.batch_size,
        shuffle=True,
        num_workers=work.workers,
        collate_fn=pixels.collate,
        persistent_workers=True,
    )
    return lambda: iter(loader)
