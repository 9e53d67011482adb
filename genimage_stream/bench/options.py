"""Options of a benchmark, and the error for one that cannot run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from genimage_stream.resources import cores


class BenchError(Exception):
    """The benchmark cannot run; the message says in one sentence why and what to do."""


@dataclass(frozen=True)
class Options:
    """What to measure: `seconds` is the duration of each single measurement, `threads` the thread counts to try."""

    seconds: float = 5.0
    crop: int = 224
    batch_size: int = 64
    threads: tuple[int, ...] = field(default_factory=lambda: default_threads(cores()))
    output: Literal["uint8", "float16", "float32"] = "float32"
    shuffle: Literal["full", "shards", "none"] = "full"
    backend: Literal["cpu", "dali"] = "cpu"
    device: str | None = None
    cache_dir: str | None = None
    generators: tuple[str, ...] | None = None
    splits: tuple[str, ...] | None = None
    seed: int = 0


def default_threads(count: int) -> tuple[int, ...]:
    """1, 2, 4, ... and the number of cores itself."""
    powers = [1 << i for i in range(count.bit_length()) if 1 << i <= count]
    return tuple(sorted({*powers, count}))


def parse_threads(text: str) -> tuple[int, ...]:
    """1,2,4 as numbers. Raises BenchError."""
    try:
        return tuple(sorted({int(part) for part in text.split(",") if part.strip()}))
    except ValueError:
        raise BenchError(f"--threads {text}: write numbers separated by commas, e.g. 1,2,4") from None
