"""Reading the next files while the present ones are checked and written.

Files that are in memory are read when they are wanted: then their bytes are still in the processor's cache when they
are checked, and their memory is used again for the next. Once most files of a batch had to be waited for, a few threads
read ahead, because a cold or a network disk answers slowly but answers several requests at once. The threads take files
in batches: handing over every file by itself would cost more than reading it. What is read ahead is bounded in bytes,
so that memory does not depend on the size of shards nor, but for the largest single one, on that of images.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from time import perf_counter
from typing import TypeVar

T = TypeVar("T")

THREADS = 4
BATCH_ITEMS = 16
BATCH_BYTES = 8 << 20
WAIT_SECONDS = 0.2e-3  # to read a file, at most, beside the time its bytes take ...
MEMORY_SPEED = 1e9  # ... at this many a second; what takes longer was not in memory


def read_ahead(
    items: Sequence[T],
    read: Callable[[T], bytes],
    size_of: Callable[[T], int],
    pool: ThreadPoolExecutor,
    wait_seconds: float = WAIT_SECONDS,
) -> Iterator[bytes | Exception]:
    """For each item, in order, its bytes, or the exception that `read` raised for it."""

    def read_one(item: T) -> bytes | Exception:
        try:
            return read(item)
        except Exception as error:
            return error

    def read_batch(batch: Sequence[T]) -> list[bytes | Exception]:
        return [read_one(item) for item in batch]

    ahead = False
    waiting: deque[Future[list[bytes | Exception]]] = deque()
    try:
        for batch in batches(items, size_of):
            if not ahead:
                slow = 0
                for item in batch:
                    begin = perf_counter()
                    data = read_one(item)
                    slow += perf_counter() - begin > wait_seconds + size_of(item) / MEMORY_SPEED
                    yield data
                ahead = slow > len(batch) // 2
                continue
            waiting.append(pool.submit(read_batch, batch))
            if len(waiting) > THREADS:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def batches(items: Sequence[T], size_of: Callable[[T], int]) -> Iterator[Sequence[T]]:
    """Runs of at most BATCH_ITEMS items and, unless one alone has more, BATCH_BYTES bytes."""
    begin = size = 0
    for at, item in enumerate(items):
        more = size_of(item)
        if at > begin and (at - begin == BATCH_ITEMS or size + more > BATCH_BYTES):
            yield items[begin:at]
            begin, size = at, 0
        size += more
    if begin < len(items):
        yield items[begin:]
