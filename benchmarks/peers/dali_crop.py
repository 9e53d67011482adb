"""NVIDIA DALI on the CPU, the window decoded only: fn.decoders.image_slice, the best that DALI has for crops.

As its page on image decoding recommends: where a crop follows, the fused decoder, which decodes no more than it has to
(of a JPEG, on the CPU: the rows down to the window's end). Otherwise as dali.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.peers import Work, dali

TITLE = "DALI, CPU, crop while decoding"
PACKAGES = dali.PACKAGES
REQUIREMENTS: tuple[str, ...] = ()


def sliced(encoded: Any, work: Work) -> tuple[Any, dict[str, Any]]:
    """The window decoded by itself; what a smaller image lacks is padded by crop_mirror_normalize."""
    from nvidia.dali import fn, math, types

    size = fn.peek_image_shape(encoded)[0:2]  # height, width
    shape = math.min(size, work.crop)
    room = fn.cast(size - shape, dtype=types.FLOAT)
    start = fn.cast(math.floor(room * fn.random.uniform(range=(0, 1), shape=[2])), dtype=types.INT32)
    shape = fn.cast(shape, dtype=types.INT32)
    images = fn.decoders.image_slice(
        encoded, start=start, shape=shape, axis_names="HW", device="cpu", output_type=types.RGB
    )
    return images, {"crop_pos_x": 0.0, "crop_pos_y": 0.0}


def open_stream(work: Work) -> Callable[[], Iterator[tuple[Any, Any]]]:
    return dali.open_stream(work, sliced)
