"""Images per second from time stamps: the median over slices of the time, and their range."""

from __future__ import annotations

import statistics
import time
from bisect import bisect_left
from dataclasses import dataclass, field

SLICES = 5


@dataclass(frozen=True)
class Rate:
    """A measured speed: `images_per_second` is the median over slices of time, `lowest` to `highest` their range."""

    images_per_second: float
    lowest: float
    highest: float
    bytes_per_second: float
    images: int
    seconds: float


@dataclass
class Meter:
    """Collects (seconds, images, bytes) of pieces of work; the time between pieces does not count."""

    pieces: list[tuple[float, int, int]] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, seconds: float, images: int, size_bytes: int) -> None:
        self.pieces.append((seconds, images, size_bytes))
        self.seconds += seconds

    def rate(self) -> Rate | None:
        """None when nothing was measured."""
        images = sum(piece[1] for piece in self.pieces)
        if not images or self.seconds <= 0:
            return None
        ends, at = [], 0.0
        for piece in self.pieces:
            at += piece[0]
            ends.append(at)
        cuts = sorted({bisect_left(ends, at * i / SLICES) + 1 for i in range(1, SLICES)} | {len(ends)})
        rates, first = [], 0
        for cut in cuts:
            part = self.pieces[first:cut]
            spent = sum(piece[0] for piece in part)
            if spent > 0:
                rates.append(sum(piece[1] for piece in part) / spent)
            first = cut
        size_bytes = sum(piece[2] for piece in self.pieces)
        median = statistics.median(rates)
        return Rate(median, min(rates), max(rates), size_bytes / self.seconds, images, self.seconds)


now = time.perf_counter
