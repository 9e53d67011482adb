"""webdataset + OpenCV: the usual advice when Pillow is too slow.

As webdataset's documentation recommends, see webdataset_pillow.py, with a decoder of one's own in `map`. OpenCV's
threads are off inside the workers, as PyTorch's performance guide has it for libraries within DataLoader workers: the
processes are the parallelism.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.peers import Work, webdataset_pillow

TITLE = "webdataset + OpenCV"
PACKAGES = ("webdataset", "opencv-python-headless", "torch")
REQUIREMENTS: tuple[str, ...] = ()


def opencv_window(data: bytes, side: int) -> Any:
    """Decode with OpenCV, cut the window, and put the channels in order."""
    import cv2
    import numpy as np

    from genimage_stream.bench.peers.pixels import planar, window

    pixels: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return planar(window(pixels, side)[..., ::-1])


def open_stream(work: Work) -> Callable[[], Iterator[tuple[Any, Any]]]:
    import cv2

    cv2.setNumThreads(0)
    return webdataset_pillow.open_stream(work, opencv_window)
