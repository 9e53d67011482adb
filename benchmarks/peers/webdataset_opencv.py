"""webdataset + OpenCV: the usual advice when Pillow is too slow. OpenCV's own threads are off inside the workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.peers import Work, webdataset_pillow

TITLE = "webdataset + OpenCV"
PACKAGES = ("webdataset", "opencv-python-headless", "torch")
REQUIREMENTS: tuple[str, ...] = ()


def open_stream(work: Work) -> Callable[[], Iterator[tuple[Any, Any]]]:
    import cv2

    from benchmarks.peers import pixels

    cv2.setNumThreads(0)
    return webdataset_pillow.open_stream(work, pixels.opencv_window)
