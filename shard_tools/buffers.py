"""Memory that shards are laid out in, kept from one to the next: fresh pages cost as much as copying into them."""

from __future__ import annotations

import contextlib
import mmap
import threading

STANDARD_BYTES = 6 << 20  # whole huge pages of x86


class Buffers:
    """Buffers that no shard needs at the moment; for all threads. There are never more than were in use at once."""

    def __init__(self) -> None:
        self._free: list[mmap.mmap] = []
        self._lock = threading.Lock()

    def take(self, capacity: int) -> mmap.mmap:
        """A buffer of `capacity` bytes, aligned to pages; there may be something in it from before."""
        if capacity == STANDARD_BYTES:
            with self._lock:
                if self._free:
                    return self._free.pop()
        buffer = mmap.mmap(-1, capacity, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        with contextlib.suppress(AttributeError, OSError):  # other systems and kernels
            buffer.madvise(mmap.MADV_HUGEPAGE)
        return buffer

    def give_back(self, *buffers: mmap.mmap) -> None:
        """What is larger than usual, for large images, is not kept."""
        with self._lock:
            self._free += [buffer for buffer in buffers if len(buffer) == STANDARD_BYTES]
