"""What every loader of a league is given, as a file that its process reads."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Work:
    """Random crops of `crop` pixels, mirrored half of the time, in batches of type `output`; paths are absolute.

    `generators` and `splits`: what is selected; `shards` are those of these samples, and the file `samples` (.npz) says
    of each sample its shard, offset, size and label. `workers`: threads or processes. `parts`: the fast decoders that
    are installed.
    """

    dataset: str
    generators: tuple[str, ...] | None
    splits: tuple[str, ...] | None
    shards: tuple[str, ...]
    samples: str
    crop: int
    batch_size: int
    workers: int
    output: str
    seed: int
    parts: tuple[str, ...] = ()

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> Work:
        fields: dict[str, Any] = json.loads(path.read_text())
        for name, value in fields.items():
            fields[name] = tuple(value) if isinstance(value, list) else value
        return cls(**fields)
