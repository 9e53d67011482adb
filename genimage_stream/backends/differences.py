"""How much the pixels of one backend differ from those of another, per stream of images.

In GenImage only the reals are JPEGs. A JPEG decoder that differs from the one that a detector was trained with is then
a difference between the labels, which a detector may learn. This report says how large it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import torch

from genimage_stream.vocabulary import REAL


class Compared(Protocol):
    """A batch: images (n, 3, height, width) uint8, their rows of the index and generators' codes, both int64 (n,)."""

    images: torch.Tensor
    rows: torch.Tensor
    generators: torch.Tensor


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


def compare(pairs: Iterable[tuple[Compared, Compared]], samples: int, generators: list[str]) -> list[StreamFidelity]:
    """Compare up to `samples` images of the batches of two backends; `generators` by their codes, from 1 on. An image
    that only one batch of a pair has is not compared."""
    tallies: dict[int, _Tally] = {}
    left = samples
    for a, b in pairs:
        both, rows = _common(a, b)
        rows = rows[:left]
        left -= len(rows)
        difference = (both[0].int() - both[1].cpu().int()).abs().flatten(1)[: len(rows)]
        for code in sorted(set(rows.tolist())):
            tallies.setdefault(code, _Tally()).add(difference[rows == code])
    names = [REAL, *generators]
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


def _common(a: Compared, b: Compared) -> tuple[tuple[torch.Tensor, torch.Tensor], torch.Tensor]:
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
