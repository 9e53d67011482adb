"""genimage-stream on shards packed with --crop-ready: lossless, a crop is cut out of the compressed data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.peers import Work, ours

TITLE = "genimage-stream, crop-ready shards"
PACKAGES = ours.PACKAGES
REQUIREMENTS: tuple[str, ...] = ()


def open_stream(work: Work) -> Callable[[], Iterator[tuple[Any, Any]]]:
    if not work.crop_ready:
        raise FileNotFoundError("no crop-ready shards were packed")
    return ours.open_stream(work, work.crop_ready)
