"""The bytes of an archive's members: read across its volumes, inflated, their CRC-32 checked."""

from __future__ import annotations

import errno
import os
import threading
import zlib
from collections.abc import Sequence
from typing import NamedTuple

from shard_tools.addresses import is_object_url
from shard_tools.errors import SourceError, UnreadableFileError, UnreadableImageError
from shard_tools.sources import zip_directory as zd
from shard_tools.sources.base import Location
from shard_tools.sources.object_store import ObjectRanges

OFFSET_BITS = 44  # of Location.offset: 16 TB a volume; the volume's number is in the bits above
_PIECE = 1024  # bytes given to the inflater of Deflate64, which has no limit, at a time: they unfold to 27 MB at most
_SLACK = 64  # bytes read beyond what a local header is expected to take


class Segment(NamedTuple):
    """One volume: `size` bytes of the file from `begin` on; path None: it is missing, and `label` says which it is."""

    path: str | None
    begin: int
    size: int
    label: str


class ZipReader:
    def __init__(self, segments: Sequence[Segment]) -> None:
        self._segments = segments
        self._open: dict[str, int] = {}
        self._lock = threading.Lock()
        self._objects = ObjectRanges()

    def read_raw(self, disk: int, offset: int, size: int) -> bytes:
        """Up to `size` bytes from an offset within a volume, running on into the next volumes."""
        parts: list[bytes] = []
        while size > 0 and disk < len(self._segments):
            segment = self._segments[disk]
            if segment.path is None:
                raise UnreadableImageError(f"its archive's volume {segment.label} is missing or empty")
            take = min(size, segment.size - offset)
            if take > 0:
                data = self._pread(segment.path, take, segment.begin + offset)
                parts.append(data)
                size -= len(data)
                if len(data) < take:
                    raise SourceError(
                        f"{segment.path} has become shorter since it was listed: bring it back as it was and run the "
                        "same command again"
                    )
            offset = max(0, offset - segment.size)
            disk += 1
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _pread(self, path: str, size: int, offset: int) -> bytes:
        if is_object_url(path):
            return self._objects.read(path, size, offset)
        try:
            descriptor = self._open.get(path)
            if descriptor is None:
                with self._lock:
                    descriptor = self._open.get(path)
                    if descriptor is None:
                        descriptor = self._open[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            data = os.pread(descriptor, size, offset)
            while 0 < len(data) < size:  # a read of more than 2 GB, or a network disk's short answer
                more = os.pread(descriptor, size - len(data), offset + len(data))
                if not more:
                    break
                data += more
        except OSError as error:
            if error.errno == errno.EIO and os.path.exists(path):
                raise UnreadableFileError(f"unreadable: {path}: {error.strerror}", path) from error
            raise SourceError(
                f"{path} cannot be read ({error.strerror}): bring the volume back and run the same "
                "command again to go on"
            ) from error
        return data

    def read(self, where: Location) -> bytes:
        disk, offset = divmod(where.offset, 1 << OFFSET_BITS)
        guess = zd.LOCAL_SIZE + len(where.path.encode()) + _SLACK + where.stored
        raw = self.read_raw(disk, offset, guess)
        try:
            start = zd.data_start(raw)
        except zd.ZipDamageError as error:
            raise UnreadableImageError(f"damaged archive: {error}") from error
        if start + where.stored > len(raw):
            raw += self.read_raw(*self._advance(disk, offset, len(raw)), start + where.stored - len(raw))
        stored = memoryview(raw)[start : start + where.stored]
        if len(stored) < where.stored:
            raise UnreadableImageError("damaged archive: it ends within this member")
        data = _contents(stored, where)
        if len(data) != where.size:
            raise UnreadableImageError(
                f"damaged archive: the member has {len(data)} bytes and its directory says {where.size}"
            )
        if zlib.crc32(data) != where.crc:
            raise UnreadableImageError("damaged archive: the member's CRC-32 does not match")
        return data

    def _advance(self, disk: int, offset: int, size: int) -> tuple[int, int]:
        offset += size
        while disk < len(self._segments) and offset >= self._segments[disk].size:
            offset -= self._segments[disk].size
            disk += 1
        return disk, offset

    def close(self) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()


def _contents(stored: memoryview, where: Location) -> bytes:
    """A member's bytes from its stored ones, at most one more than promised: that is enough to see that the promise is
    wrong, and no zip bomb unfolds. Raises UnreadableImageError.
    """
    if where.method == zd.STORED:
        return bytes(stored)
    try:
        if where.method == zd.DEFLATE64:
            return _inflate64(stored, where.size)
        return zlib.decompressobj(-15).decompress(stored, where.size + 1)
    except (zlib.error, ValueError, RuntimeError) as error:
        raise UnreadableImageError(f"damaged archive: the member does not inflate ({error})") from error


def _inflate64(stored: memoryview, size: int) -> bytes:
    import inflate64

    inflater, parts, found = inflate64.Inflater(), [], 0
    for begin in range(0, len(stored), _PIECE):
        parts.append(inflater.inflate(bytes(stored[begin : begin + _PIECE])))
        found += len(parts[-1])
        if found > size or inflater.eof:
            break
    return b"".join(parts)[: size + 1]
