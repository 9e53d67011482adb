"""Is a shard that was downloaded into the cache the one that its index describes?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from genimage_stream.storage.errors import StoreError

_TAR_BLOCK = 512


def check_shard(
    name: str, size: int, end: int, images: Iterable[tuple[int, int, str]], read: Callable[[int, int], bytes]
) -> None:
    """Raises StoreError unless the shard called `name`, of `size` bytes, reaches to byte `end`, has a tar header before
    each of `images` (as by `ShardContents`), and each has the SHA-256 of the bytes that were packed. `read(start, n)`
    gives n bytes of it."""
    if end > size:
        raise StoreError(f"{name} ends at byte {size}, but its index goes to byte {end}: it is truncated")
    for start, n, expected in images:
        header = read(start - _TAR_BLOCK, _TAR_BLOCK)
        if header[257:262] != b"ustar" or _octal(header[124:136]) != n:
            raise StoreError(f"{name}: no image of {n} bytes at byte {start}; index and shard do not match")
        if hashlib.sha256(read(start, n)).hexdigest() != expected:
            raise StoreError(f"{name}: the image at byte {start} is not the one that was packed")


def _octal(field: bytes) -> int:
    digits = field.rstrip(b"\0 ").lstrip()
    try:
        return int(digits, 8)
    except ValueError:
        return -1
