"""Is a shard that was downloaded into the cache the one that its index describes?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from genimage_stream.storage.errors import StoreError
from genimage_stream.storage.tar_headers import BLOCK, describes


def check_shard(
    name: str, size: int, end: int, images: Iterable[tuple[int, int, str]], read: Callable[[int, int], bytes]
) -> None:
    """Raises StoreError unless the shard called `name`, of `size` bytes, reaches to byte `end`, has a tar header before
    each of `images` (as by `ShardContents`), and each has the SHA-256 of the bytes that were packed. `read(start, n)`
    gives n bytes of it."""
    if end > size:
        raise StoreError(f"{name} ends at byte {size}, but its index goes to byte {end}: it is truncated")
    for start, n, expected in images:
        if start < BLOCK or not describes(read(start - BLOCK, BLOCK), b"", n):
            raise StoreError(f"{name}: no image of {n} bytes at byte {start}; index and shard do not match")
        if hashlib.sha256(read(start, n)).hexdigest() != expected:
            raise StoreError(f"{name}: the image at byte {start} is not the one that was packed")
