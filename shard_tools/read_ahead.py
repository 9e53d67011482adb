"""Reading the next files while the present ones are checked and written.

A few threads, because a cold or a network disk answers slowly but answers several at once. They take files in batches:
handing over every file by itself would cost more than reading it from a warm cache does. What is read ahead is
bounded in bytes, so that memory does not depend on the size of shards nor, but for the largest single one, on that of
images.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

THREADS = 4
BATCH_ITEMS = 16
BATCH_BYTES = 8 << 20


def read_ahead(
    items: Sequence[T],
    read: Callable[[T], bytes],
    size_of: Callable[[T], int],
    pool: ThreadPoolExecutor,
) -> Iterator[bytes | Exception]:
    """For each item, in order, its bytes, or the exception that `read` raised for it."""

    def read_batch(batch: Sequence[T]) -> list[bytes | Exception]:
        found: list[bytes | Exception] = []
        for item in batch:
            try:
                found.append(read(item))
            except Exception as error:
                found.append(error)
        return found

    waiting: deque[Future[list[bytes | Exception]]] = deque()
    try:
        for batch in batches(items, size_of):
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
