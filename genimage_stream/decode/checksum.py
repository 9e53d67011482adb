"""A checksum against damage, as fast as memory: libdeflate's CRC-32."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genimage_stream.decode import _core

if TYPE_CHECKING:
    from typing_extensions import Buffer


def crc32(data: Buffer) -> int:
    """CRC-32, as zlib has it, of bytes."""
    return _core.crc32(data)
