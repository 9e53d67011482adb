"""What the operating system keeps of files in memory: asking without reading, and dropping it.

Asked is `mincore`. A read that must not wait (`RWF_NOWAIT`) would answer too, but a kernel may begin to read what it
just said is missing, so that the same question asked again gets another answer.
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
    """Whether the page that holds this byte of a file is in memory; None where nobody tells.

    The kernel tells the truth only to those who own the file or may write to it, lest they spy on others; to everyone
    else it calls all pages resident.
    """
    if not _tells() or not _may_ask(descriptor):
        return None
    return _resident(descriptor, mmap.MAP_SHARED, offset - offset % mmap.PAGESIZE)


def drop(descriptor: int) -> None:
    """Drop what the cache holds of a file. Needs no privilege, touches no other file; pages not yet written stay.

    The whole file, since the kernel keeps pages in larger folios and drops none that only part of a range lies in.
    """
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def write_back(descriptor: int) -> None:
    """Have what was written to a file lately on the disk, so that it can be dropped; as far as that is possible."""
    with contextlib.suppress(OSError):  # a read-only file system: nothing waits to be written there
        os.fsync(descriptor)


def _may_ask(descriptor: int) -> bool:
    user = os.geteuid()
    return user in (0, os.fstat(descriptor).st_uid) or os.access(f"/proc/self/fd/{descriptor}", os.W_OK)


@cache
def _tells() -> bool:
    """Whether mincore is here and means what it says: of memory that nobody touched it must say no."""
    if not sys.platform.startswith("linux"):
        return False
    return _resident(-1, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 0) is False


def _resident(descriptor: int, flags: int, offset: int) -> bool | None:
    """mincore of one page of a mapping that is made for it; mapping a page does not read it."""
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
