"""The directory of a zip archive: where it ends, how many volumes it has, what is in it.

Written from PKWARE's APPNOTE 6.3: the end record, its ZIP64 form, the central directory with ZIP64 fields. Only the
central directory is believed; local headers serve to find where a member's data begins. (One of GenImage's archives is
refused by common tools because its local headers seem to overlap, though every byte of it is right.)
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from typing import NamedTuple

END_SIGNATURE = b"PK\x05\x06"
LOCAL_SIGNATURE = b"PK\x03\x04"
LOCAL_SIZE = 30
# The end record is 22 bytes and a comment of at most 65,535 bytes; before it the ZIP64 locator's 20.
TAIL_BYTES = 22 + 65_535 + 20

_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_MASK16, _MASK32 = 0xFFFF, 0xFFFFFFFF
# What a sound directory never exceeds. The fields have room for more, which would not fit the listing's columns.
LARGEST = 1 << 44  # bytes of a member or a volume
MOST_VOLUMES = 10_000
LARGEST_DIRECTORY = 2 << 30  # bytes; GenImage's largest has 40 MB
_LAST_METHOD = 99  # the largest number that APPNOTE gives a method

STORED, DEFLATE, DEFLATE64, AES = 0, 8, 9, 99
_METHODS = {1: "Shrink", 6: "Implode", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "XZ", 97: "WavPack", 98: "PPMd"}


class ZipDamageError(Exception):
    """The directory of an archive is not there or is not sound."""


class End(NamedTuple):
    """What the end record says. Positions are within the volume named beside them."""

    disk: int  # number of the last volume, from 0
    directory_disk: int
    directory_offset: int
    directory_size: int
    members: int  # modulo 65,536 where there is no ZIP64 record
    record_at: int  # of the first end record (ZIP64 or not), counted from the start of the last volume
    locator: tuple[int, int] | None  # (disk, offset) of the ZIP64 end record


class Member(NamedTuple):
    name: str
    size: int
    stored: int
    method: int
    flags: int
    crc: int
    disk: int
    offset: int

    def unreadable(self) -> str | None:
        """Why its bytes cannot be read, None when they can."""
        if self.flags & 1:
            return "is encrypted (AES)" if self.method == AES else "is encrypted"
        if self.method in (STORED, DEFLATE):
            return None
        if self.method == DEFLATE64:
            return None if _inflates64() else "is compressed by Deflate64 (`pip install inflate64` to read it)"
        return f"is compressed by {_METHODS.get(self.method, 'another program')} (method {self.method})"


@cache
def _inflates64() -> bool:
    return find_spec("inflate64") is not None


def find_end(tail: bytes, tail_at: int, read_disk: Callable[[int, int, int], bytes]) -> End:
    """Find the end record in the `tail` (its last bytes, from position `tail_at` on) of the last volume.

    `read_disk(disk, offset, size)` reads the ZIP64 end record, which may lie in the volume before.
    """
    at = len(tail)
    while True:
        at = tail.rfind(END_SIGNATURE, 0, at)
        if at < 0:
            raise ZipDamageError("it does not end like a zip archive (is it complete?)")
        if len(tail) >= at + _END.size:
            fields = _END.unpack_from(tail, at)
            if at + _END.size + fields[7] <= len(tail):
                break
    _, disk, directory_disk, _, members, size, offset, _ = fields
    if at >= _LOCATOR.size and tail[at - _LOCATOR.size : at - _LOCATOR.size + 4] == b"PK\x06\x07":
        _, end_disk, end_offset, disks = _LOCATOR.unpack_from(tail, at - _LOCATOR.size)
        record_at = tail_at + at - _LOCATOR.size - _END64.size
        raw = tail[record_at - tail_at :][: _END64.size] if record_at >= tail_at else b""
        if raw[:4] != b"PK\x06\x06":
            raw = read_disk(end_disk, end_offset, _END64.size)
        if raw[:4] != b"PK\x06\x06" or len(raw) < _END64.size:
            raise ZipDamageError("its ZIP64 end record is not where it should be")
        _, _, _, _, disk, directory_disk, _, members, size, offset = _END64.unpack(raw)
        if not disks:
            raise ZipDamageError("its ZIP64 locator is damaged (it counts no volumes)")
        end = End(disk or disks - 1, directory_disk, offset, size, members, record_at, (end_disk, end_offset))
    else:
        end = End(disk, directory_disk, offset, size, members, tail_at + at, None)
    if end.disk >= MOST_VOLUMES or end.directory_offset > LARGEST or end.directory_size > LARGEST_DIRECTORY:
        raise ZipDamageError("its end record is damaged (no archive is that large)")
    return end


def read_members(directory: bytes, end: End) -> Iterator[Member]:
    """The entries of a central directory; the names of folders end in "/". Raises ZipDamageError.

    Archives without ZIP64 fields may hold more than their fields can say (macOS's Archive Utility writes such ones):
    the count of members is then modulo 65,536, and offsets are modulo 2^32. Members follow each other there, so where
    an offset is smaller than the one before, it has wrapped.
    """
    at = count = 0
    unpack = _CENTRAL.unpack_from
    size_of_header = _CENTRAL.size
    last, wrapped, one_volume = 0, 0, end.locator is None and end.disk == 0
    while at + size_of_header <= len(directory):
        fields = unpack(directory, at)
        if fields[0] != b"PK\x01\x02":
            break
        (
            _,
            _,
            _,
            flags,
            method,
            _,
            _,
            crc,
            stored,
            size,
            name_length,
            extra_length,
            comment_length,
            disk,
            _,
            _,
            offset,
        ) = fields
        name_at = at + size_of_header
        raw = directory[name_at : name_at + name_length]
        if _MASK32 in (size, stored, offset) or disk == _MASK16:
            extra = directory[name_at + name_length : name_at + name_length + extra_length]
            size, stored, offset, disk = _zip64(extra, size, stored, offset, disk)
        at = name_at + name_length + extra_length + comment_length
        count += 1
        name = _text(raw, flags)
        if disk >= MOST_VOLUMES or max(size, stored, offset) > LARGEST or method > _LAST_METHOD:
            raise ZipDamageError(f"the entry of {name} in its directory is damaged")
        if one_volume and end.record_at > _MASK32:
            if offset + wrapped < last and offset + wrapped + (1 << 32) <= end.record_at:
                wrapped += 1 << 32
            offset += wrapped
            last = offset
        yield Member(name, size, stored, method, flags, crc, disk, offset)
    if count != end.members and (end.locator or count % 65536 != end.members):
        raise ZipDamageError(f"its directory has {count} readable entries and should have {end.members}")


def _zip64(extra: bytes, size: int, stored: int, offset: int, disk: int) -> tuple[int, int, int, int]:
    at = 0
    while at + 4 <= len(extra):
        tag, length = struct.unpack_from("<2H", extra, at)
        if tag == 1:
            field, at = extra[at + 4 : at + 4 + length], 0
            values = []
            for value, mask, code in ((size, _MASK32, "<Q"), (stored, _MASK32, "<Q"), (offset, _MASK32, "<Q")):
                if value == mask:
                    if at + 8 > len(field):
                        raise ZipDamageError("a ZIP64 field in its directory is too short")
                    values.append(struct.unpack_from(code, field, at)[0])
                    at += 8
                else:
                    values.append(value)
            if disk == _MASK16 and at + 4 <= len(field):
                disk = struct.unpack_from("<L", field, at)[0]
            return values[0], values[1], values[2], disk
        at += 4 + length
    return size, stored, offset, disk


def _text(raw: bytes, flags: int) -> str:
    """A member's name: UTF-8 when it says so or reads as such, otherwise the code page 437 of the format's origin."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("utf-8" if flags & 0x800 else "cp437", "replace")
    # Some programs on Windows write their own separator, against the format; a name with both means what it says.
    return text if "/" in text else text.replace("\\", "/")


def data_start(header: bytes) -> int:
    """Bytes from the start of a local header to the member's data. Raises ZipDamageError."""
    if len(header) < LOCAL_SIZE or header[:4] != LOCAL_SIGNATURE:
        raise ZipDamageError("there is no local header where the directory says")
    name_length, extra_length = struct.unpack_from("<2H", header, 26)
    return LOCAL_SIZE + int(name_length) + int(extra_length)
