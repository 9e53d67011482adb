"""The page cache: which parts of files are in memory, found without reading them, and how to drop them.

This uses `mincore`. A non-blocking read (`RWF_NOWAIT`) would tell too, but the kernel may start to read what it just
reported as missing, so that a second call gives another answer.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import sys
from functools import cache
from typing import Any

NOWHERE = ctypes.c_void_p(-1).value  # MAP_FAILED


def is_resident(descriptor: int, offset: int) -> bool | None:
    """Whether the page that holds this byte of a file is in memory; None where that is unknown.

    The kernel answers truthfully only to the owner of the file and those who may write to it, for privacy; to others it
    reports every page as resident.
    """
    if not _mincore_works() or not _permitted(descriptor):
        return None
    return _resident(descriptor, mmap.MAP_SHARED, offset - offset % mmap.PAGESIZE)


def drop(descriptor: int) -> None:
    """Drop a file from the page cache. Needs no privilege and affects no other file; dirty pages stay.

    Always the whole file: the kernel keeps pages in larger folios and drops none that a range covers only in part.
    """
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def write_back(descriptor: int) -> None:
    """Write the dirty pages of a file to disk, so that they can be dropped; as far as that is possible."""
    with contextlib.suppress(OSError):  # a read-only file system has no dirty pages
        os.fsync(descriptor)


def _permitted(descriptor: int) -> bool:
    user = os.geteuid()
    return user in (0, os.fstat(descriptor).st_uid) or os.access(f"/proc/self/fd/{descriptor}", os.W_OK)


@cache
def _mincore_works() -> bool:
    """Whether mincore exists and works: untouched memory must not be resident."""
    if not sys.platform.startswith("linux"):
        return False
    return _resident(-1, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 0) is False


def _resident(descriptor: int, flags: int, offset: int) -> bool | None:
    """mincore of one page of a temporary mapping; mapping a page does not read it."""
    libc = _libc()
    place = libc.mmap(None, mmap.PAGESIZE, mmap.PROT_READ, flags, descriptor, offset)
    if place == NOWHERE:
        return None
    answer = ctypes.create_string_buffer(1)
    failed = libc.mincore(place, mmap.PAGESIZE, answer)
    libc.munmap(place, mmap.PAGESIZE)
    return None if failed else bool(answer.raw[0] & 1)


@cache
def _libc() -> Any:
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_int64)
    libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)
    libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    return libc
