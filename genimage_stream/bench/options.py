"""Options of a benchmark, and the error for one that cannot run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from genimage_stream.resources import cores


class BenchError(Exception):
    """The benchmark cannot run; the message says in one sentence why and what to do."""


@dataclass(frozen=True)
class Options:
    """What to measure: `seconds` is the duration of each single measurement, `threads` the thread counts to try.

    `transform` is in place of `crop`: a recipe's name, or steps as JSON. `peers`: also measure other loaders.
    """

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
    transform: str | None = None
    peers: bool = False

    def geometry(self) -> dict[str, Any]:
        """What a loader is given: the crop, or the transform, a recipe's name or steps as JSON. Raises BenchError."""
        if self.transform is None:
            return {"crop": self.crop}
        from genimage_stream.recipes import resolve
        from genimage_stream.transforms import from_json

        try:
            if self.transform.lstrip().startswith("["):
                return {"transform": from_json(self.transform)}
            resolve(self.transform)
        except (ValueError, ImportError) as error:
            raise BenchError(f"--transform: {error}") from None
        return {"transform": self.transform}

    def shown(self) -> str:
        """The same in a few words."""
        return f"crop {self.crop}" if self.transform is None else f"transform {self.transform}"


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
