"""webdataset + pillow-simd: the same with the SIMD fork of Pillow, compiled for AVX2 as its README says.

An environment of its own, because pillow-simd takes the place of the package PIL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.peers import Work, webdataset_pillow

TITLE = "webdataset + pillow-simd"
PACKAGES = ("webdataset", "pillow-simd", "torch")
REQUIREMENTS = ("pillow-simd==12.1.1.post0",)
PIP_OPTIONS = ("--no-deps", "--no-binary", "pillow-simd")
ENVIRONMENT = {"CC": "cc -mavx2"}  # while it is being installed


def open_stream(work: Work) -> Callable[[], Iterator[tuple[Any, Any]]]:
    import PIL

    if "post" not in PIL.__version__:
        raise ImportError(f"PIL is Pillow {PIL.__version__}, not pillow-simd")
    return webdataset_pillow.open_stream(work)
