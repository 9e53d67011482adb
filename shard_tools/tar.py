"""Tar headers and the members of one sample, byte for byte.

USTAR (POSIX.1-1988) with owner 0, mode 0644 and mtime 0; a name of more than 100 bytes gets a PAX header in front.
Written out here instead of through `tarfile`, which costs ten times as much a member; a test compares the two.
"""

from __future__ import annotations

import tarfile
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from genimage_stream.vocabulary import FAKE

BLOCK = 512
END = bytes(2 * BLOCK)

_PADDING = [bytes(-n % BLOCK) for n in range(BLOCK)]
# Everything between the fields name, size and checksum. The checksum counts its own field as eight spaces.
_OWNER = b"0000644\0" + b"0000000\0" * 2
_MTIME = b"00000000000\0"
_TAIL = b" 0" + bytes(100) + b"ustar\x0000" + bytes(64) + b"0000000\0" * 2 + bytes(167)
_CONSTANT_SUM = sum(_OWNER) + sum(_MTIME) + sum(_TAIL[1:]) + 8 * ord(" ")

N = TypeVar("N", int, "npt.NDArray[np.int64]")


def header(name: str, size: int) -> bytes:
    """The header block (with a PAX name of more than 100 bytes: blocks) of a plain file of `size` bytes."""
    raw = name.encode()
    if len(raw) > 100 or size >= 8**11:
        info = tarfile.TarInfo(name)
        info.size = size
        return info.tobuf(tarfile.PAX_FORMAT)
    digits = b"%011o\0" % size
    checksum = b"%06o\0" % (_CONSTANT_SUM + sum(raw) + sum(digits))
    return b"".join((raw, bytes(100 - len(raw)), _OWNER, digits, _MTIME, checksum, _TAIL))


def padding(size: int) -> bytes:
    """Zeros up to the next block border."""
    return _PADDING[size % BLOCK]


def sample_bytes(size: N) -> N:
    """Bytes that a sample with an image of `size` bytes takes in a tar, if its facts fit one block and its key
    needs no PAX.
    """
    return size + (-size) % BLOCK + 5 * BLOCK


SUFFIXES = {"jpeg": "jpg"}


def suffix_of(form: str) -> str:
    """Suffix of the image member: lower case, of the true format."""
    return SUFFIXES.get(form, form)


class Small(NamedTuple):
    """The place of a small member's contents, counted from the end of the image and its padding."""

    ending: str
    offset: int
    size: int


def small_members(key: str, label: str, facts: bytes) -> tuple[tuple[Small, Small], bytes]:
    """The members `<key>.cls` and `<key>.json` with headers and padding, and where their contents are in them."""
    cls_head = header(key + ".cls", 1)
    json_head = header(key + ".json", len(facts))
    json_at = len(cls_head) + BLOCK + len(json_head)
    raw = b"".join(
        (cls_head, b"1" if label == FAKE else b"0", _PADDING[1], json_head, facts, _PADDING[len(facts) % BLOCK])
    )
    return (Small("cls", len(cls_head), 1), Small("json", json_at, len(facts))), raw
