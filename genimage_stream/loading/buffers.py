"""Memory for batches, reused when nothing holds the batch any more.

Fresh memory for every batch costs a page fault per 4 KiB, a tenth of the time of a batch of floats. Reusing memory that
the consumer still holds would change its images. So the memory of a batch returns to the pool when the last tensor over
it is gone: `list(loader)` keeps every batch intact, and a plain training loop needs a few buffers.
"""

from __future__ import annotations

import weakref
from collections import deque
from math import prod

import numpy as np
import numpy.typing as npt
import torch

DTYPES = {"uint8": np.uint8, "float16": np.float16, "float32": np.float32}


class BufferPool:
    """Tensors of up to `shape` = (n, 3, height, width) of one of DTYPES.

    `pinned`: page-locked memory from torch's own cache, which waits for copies to the GPU that are still under way
    before it uses memory again. `reuse=False`: fresh memory every time.
    """

    def __init__(self, shape: tuple[int, int, int, int], dtype: str, *, pinned: bool, reuse: bool, keep: int) -> None:
        self._shape = shape
        self._dtype = np.dtype(DTYPES[dtype])
        self._torch_dtype: torch.dtype = getattr(torch, dtype)
        self._pinned = pinned
        self._reuse = reuse
        self._free: deque[npt.NDArray[np.uint8]] = deque(maxlen=max(1, keep))

    def take(self, n: int, window: tuple[int, int] | None = None) -> torch.Tensor:
        """A contiguous tensor of n images, its contents undefined. Fresh memory for more images than the pool's, or
        for a `window` (height, width) of its own."""
        shape = (n, 3, *(window or self._shape[2:]))
        if self._pinned or not self._reuse or window is not None or not 0 < n <= self._shape[0]:
            return torch.empty(shape, dtype=self._torch_dtype, device="cpu", pin_memory=self._pinned and n > 0)
        try:
            memory = self._free.pop()
        except IndexError:
            memory = np.empty(prod(self._shape) * self._dtype.itemsize, np.uint8)
        # torch keeps `view` alive as long as any tensor shares its memory; then the memory returns to the pool.
        view = memory[: prod(shape) * self._dtype.itemsize].view(self._dtype).reshape(shape)
        weakref.finalize(view, self._free.append, memory).atexit = False
        return torch.from_numpy(view)
