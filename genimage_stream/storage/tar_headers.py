"""The header that a tar has before each file in it. For local files cpp/batch/tar_header compares it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genimage_stream.storage.store import Store

BLOCK = 512  # bytes of a header

_NAME_BYTES = 100
_SIZE = slice(124, 136)
_MAGIC = slice(257, 262)


def describes(header: bytes | memoryview, name: bytes, size: int) -> bool:
    """Whether `header`, BLOCK bytes, is of a file of `size` bytes whose name begins with `name`."""
    name = name[:_NAME_BYTES]
    return header[_MAGIC] == b"ustar" and header[: len(name)] == name and _octal(bytes(header[_SIZE])) == size


def mismatch(shard: str, header: bytes | memoryview, name: bytes, size: int, offset: int) -> str:
    """The message for a shard, by path or address, that has another `header` before byte `offset`."""
    found = "no file of a tar"
    if header[_MAGIC] == b"ustar":
        named = bytes(header[:_NAME_BYTES]).partition(b"\0")[0].decode("ascii", "replace")
        found = f"{named!r}, {_octal(bytes(header[_SIZE]))} bytes,"
    return (
        f"{shard} holds {found} at byte {offset} instead of {name.rstrip(b'.').decode('utf-8', 'replace')!r}, "
        f"{size} bytes: it is not the shard that the index describes, so copy both again from one place, or pack again"
    )


def read_member(store: Store, shard: str, name: bytes, offset: int, size: int) -> bytes:
    """The `size` bytes at `offset` of a shard. Raises OSError when they are not there, or the header before them is of
    another file."""
    lead = min(BLOCK, offset)
    data = store.read_range(shard, offset - lead, size + lead)
    if size > 0 and not describes(data[:lead], name, size):
        raise OSError(mismatch(f"{store.name}/{shard}", data[:lead], name, size, offset))
    return data[lead:]


def _octal(field: bytes) -> int:
    """-1 for what is no number."""
    digits = field.rstrip(b"\0 ").lstrip(b" ")
    return int(digits, 8) if digits.isdigit() and not digits.strip(b"01234567") else -1
