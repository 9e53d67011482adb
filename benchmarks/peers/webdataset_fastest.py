"""webdataset + simplejpeg + kornia-rs: the fastest decoders that pip installs, in webdataset's usual pipeline.

As webdataset_pillow.py, with simplejpeg for JPEGs and kornia-rs for PNGs; windows by NumPy, batches of uint8 that are
normalised at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.peers import Work, webdataset_pillow
from genimage_stream.bench.peers import pixels

TITLE = "webdataset + simplejpeg, kornia-rs"
PACKAGES = ("webdataset", "simplejpeg", "kornia-rs", "torch")
REQUIREMENTS: tuple[str, ...] = ()


def open_stream(work: Work) -> Callable[[], Iterator[tuple[Any, Any]]]:
    return webdataset_pillow.open_stream(work, pixels.fastest_window)
