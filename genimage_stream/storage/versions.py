"""Versions of files: whether a file is still the one that was opened."""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import weakref
from typing import TYPE_CHECKING

from genimage_stream.storage.memory import sparse_memory

if TYPE_CHECKING:
    from genimage_stream.storage.store import Spans

FileVersion = tuple[int, int, int]  # inode, time of modification in ns, size in bytes
MISSING: FileVersion = (-1, 0, 0)
_PART = 1 << 20  # bytes that are read at once


class ChangedError(OSError, ValueError):
    """The dataset changed after it was opened, other than by growing; the message names the file."""


def changed(file: str) -> ChangedError:
    """The error for a file, by its path or address."""
    return ChangedError(f"{file} changed after it was opened: open the dataset again, since the dataset changed")


def version_of(facts: os.stat_result) -> FileVersion:
    return facts.st_ino, facts.st_mtime_ns, facts.st_size


def version_at(place: str) -> FileVersion:
    """Of the file there; MISSING when there is none."""
    try:
        return version_of(os.stat(place))
    except OSError:
        return MISSING


class LocalSnapshot:
    """A local file as it was when it was opened: the open descriptor keeps it when another takes its place. A
    `Snapshot` of storage/store.py."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        weakref.finalize(self, os.close, self._descriptor)
        self._version = version_of(os.fstat(self._descriptor))
        self.size = self._version[2]
        self.version = _text(self._version)

    def read_spans(self, spans: Spans) -> mmap.mmap:
        memory = sparse_memory(self.size)
        try:
            with memoryview(memory) as view:
                for start, end in spans:
                    at = start
                    while at < end and (got := os.preadv(self._descriptor, [view[at:end]], at)):
                        at += got
            now = version_of(os.fstat(self._descriptor))
        except OSError as error:
            if error.errno == errno.ESTALE:  # of a network file system, where another machine replaced it
                raise changed(self._place) from error
            raise
        if now != self._version:
            raise changed(self._place)
        return memory

    def version_now(self) -> str:
        return _text(version_at(self._place))

    def identity(self) -> str:
        """As `version`, with the time of the last change of any kind, which nobody can set: what was remembered of a
        file with the same identity is true of this one, on any machine that sees the same disk."""
        facts = os.fstat(self._descriptor)
        return f"{_text(version_of(facts))}-{facts.st_ctime_ns}"

    def digest(self) -> str:
        """SHA-256 of the whole file, hexadecimal. Raises ChangedError when it was written to."""
        state, at = hashlib.sha256(), 0
        while part := os.pread(self._descriptor, _PART, at):
            state.update(part)
            at += len(part)
        if version_of(os.fstat(self._descriptor)) != self._version:
            raise changed(self._place)
        return state.hexdigest()

    def keep(self) -> None:
        pass


def _text(version: FileVersion) -> str:
    return "-".join(map(str, version))
