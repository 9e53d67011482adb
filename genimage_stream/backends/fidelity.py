"""How far the pixels of one backend are from those of another, per stream of images.

In GenImage only the reals are JPEGs. A JPEG decoder that differs from the one that a detector was trained with is then
a difference between the labels, which a detector may learn. This report says how large it is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from genimage_stream.backends.dali import DaliOptions
    from genimage_stream.dataset.dataset import Dataset


@dataclass(frozen=True)
class StreamFidelity:
    """One stream ("real", or a generator's fakes): `images` compared, how many of them are `identical`, the share of
    channel values that differ, and the `largest` and `mean` absolute difference of values from 0 to 255 (`mean` over
    all values, equal ones included)."""

    stream: str
    images: int
    identical: int
    differing: float
    largest: int
    mean: float


def fidelity(
    dataset: Dataset,
    *,
    samples: int = 1024,
    crop: int | tuple[int, int] = 224,
    device: str | None = None,
    seed: int = 0,
    batch_size: int = 32,
    dali: DaliOptions | None = None,
) -> list[StreamFidelity]:
    """Decode the same windows of up to `samples` random images by `backend="cpu"` and `backend="dali"` on `device`
    (None: DALI's CPU mode), as uint8, and compare them per stream. `dali` as for the loader: `hw_decoder_load` 1 or 0
    tells the hardware decoder and the CUDA kernels apart. Images that do not decode are left out. Raises what the
    loaders raise: ImportError without DALI, RuntimeError without the device."""
    from genimage_stream.arguments import whole
    from genimage_stream.loading.loader import Loader

    samples = whole("samples", samples, 1)
    options: dict[str, Any] = {"crop": crop, "seed": seed, "on_error": "skip", "max_errors": sys.maxsize}
    reference = Loader(dataset, batch_size, **options)
    other = Loader(dataset, batch_size, backend="dali", device=device, dali=dali, **options)
    tallies: dict[int, _Tally] = {}
    left = samples
    for a, b in zip(_head(reference, samples, batch_size), _head(other, samples, batch_size), strict=True):
        both, rows = _common(a, b)
        rows = rows[:left]
        left -= len(rows)
        difference = (both[0].int() - both[1].cpu().int()).abs().flatten(1)[: len(rows)]
        for code in sorted(set(rows.tolist())):
            tallies.setdefault(code, _Tally()).add(difference[rows == code])
    names = ["real", *dataset.generators]
    return [tallies[code].result(names[code]) for code in sorted(tallies)]


def as_table(streams: list[StreamFidelity]) -> str:
    """The report as Markdown."""
    lines = [
        "| stream | images | identical | values that differ | largest difference | mean difference |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {s.stream} | {s.images} | {s.identical / s.images:.1%} | {s.differing:.3%} | {s.largest} | {s.mean:.5f} |"
        for s in streams
    ]
    return "\n".join(lines)


def _head(loader: Any, samples: int, batch_size: int) -> Iterator[Any]:
    """The first batches of an epoch that hold `samples` places; the epoch is then ended."""
    epoch = iter(loader)
    try:
        for _, batch in zip(range(-(-samples // batch_size)), epoch, strict=False):
            yield batch
    finally:
        epoch.close()


def _common(a: Any, b: Any) -> tuple[tuple[torch.Tensor, torch.Tensor], torch.Tensor]:
    """The images that both batches hold (either may have skipped some), and their streams."""
    in_a, in_b = torch.isin(a.rows, b.rows), torch.isin(b.rows, a.rows)
    return (a.images[in_a], b.images[in_b.to(b.images.device)]), a.generators[in_a]


class _Tally:
    def __init__(self) -> None:
        self.images = self.identical = self.values = self.differing = self.total = self.largest = 0

    def add(self, difference: torch.Tensor) -> None:
        """`difference` int32 (images, values)."""
        self.images += len(difference)
        self.identical += int((difference.amax(1) == 0).sum())
        self.values += difference.numel()
        self.differing += int((difference > 0).sum())
        self.total += int(difference.sum())
        self.largest = max(self.largest, int(difference.max()))

    def result(self, stream: str) -> StreamFidelity:
        share, mean = self.differing / self.values, self.total / self.values
        return StreamFidelity(stream, self.images, self.identical, share, self.largest, mean)
