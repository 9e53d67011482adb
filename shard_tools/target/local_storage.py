"""Where a dataset is written: small files and shards that appear under their names only when complete."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Protocol

from genimage_stream.remedies import is_utf8, printable
from genimage_stream.storage.within import local_file, need_possible_size
from shard_tools.addresses import is_object_url
from shard_tools.errors import TargetError

_WRITE_BACK = 8 << 20  # bytes written before the disk is asked to begin with them
_SYNC_FILE_RANGE_WRITE = 2  # linux/fs.h
_DIRECT = getattr(os, "O_DIRECT", 0)
_BUFFER = 4 << 20  # bytes gathered before they are written
_PAGE = 4096  # what is written directly is a multiple of this, which is one of every disk's block
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_NO_LINKS = {errno.EPERM, errno.EMLINK, errno.ENOSYS, errno.EOPNOTSUPP}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class ShardFile(Protocol):
    """A file that is being written; it appears under its name at `commit`."""

    def write(self, parts: Sequence[bytes | memoryview]) -> None: ...
    def commit(self) -> None: ...
    def abort(self) -> None: ...


class Stream(Protocol):
    size: int

    def read(self, size: int) -> bytes: ...


class Storage(Protocol):
    """The place of one dataset. Picklable; names are relative, with "/" between folders."""

    @property
    def url(self) -> str: ...
    def shown(self, name: str) -> str:
        """A file's path as people know it."""

    def local_path(self, name: str = "") -> str | None:
        """The path of a file, or of the dataset, on this machine; None in an object store."""

    def read(self, name: str) -> bytes | None:
        """The file's bytes, None when it is not there. Raises TargetError when it cannot be read."""

    def open(self, name: str) -> AbstractContextManager[Stream]:
        """Read a file from its beginning on. Raises FileNotFoundError."""

    def size(self, name: str) -> int | None: ...
    def write(self, name: str, data: bytes, *, durable: bool = True) -> None:
        """Replace a file as a whole: readers see the old bytes or the new ones.

        What is not `durable` may be lost or torn by a power failure; it has to be recognisable then.
        """

    def write_new(self, name: str, data: bytes) -> bool:
        """Write a file unless there is one of this name: of several processes on any machines, one gets True."""

    def create(self, name: str) -> ShardFile: ...
    def files(self, below: str = "") -> dict[str, int]:
        """All files below a folder with their sizes in bytes."""

    def move(self, name: str, to: str) -> None:
        """Give a file another name, at which another one may be."""

    def remove(self, name: str) -> None: ...


def is_unfinished(name: str) -> bool:
    """Whether a file is one that LocalFile was writing when its packer was killed."""
    base = name.rpartition("/")[2]
    return base.startswith(".") and base.endswith(".part")


class LocalFile:
    """A file that is written beside its final place under a name of its own, synced, then renamed.

    `direct`: in whole pages of aligned memory past the page cache. A shard is not read again soon, and making room for
    it in the cache would cost more than all the rest of writing it, and would push the source out.
    """

    def __init__(self, path: Path, direct: bool = False) -> None:
        self._path = path
        self._written = self._begun = 0
        self._buffer = mmap.mmap(-1, _BUFFER, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # begins at a page
        with contextlib.suppress(AttributeError, OSError):  # other systems and kernels
            self._buffer.madvise(mmap.MADV_HUGEPAGE)
        self._used = 0
        self._direct = False
        # Containers may have the same node name and process number, on one shared disk.
        self._part = path.with_name(f".{path.name}.{os.uname().nodename}-{os.getpid()}-{os.urandom(4).hex()}.part")
        with explained(path):
            make_folder(path.parent)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            try:
                self._descriptor = os.open(self._part, flags, 0o644)
            except FileExistsError:  # of a killed process of this number, or a link that somebody left
                self._part.unlink()
                self._descriptor = os.open(self._part, flags, 0o644)
            if direct:
                self._go_direct(True)

    def _go_direct(self, on: bool) -> None:
        """A file system may have no such thing; then everything is written through the page cache."""
        with contextlib.suppress(OSError):
            flags = fcntl.fcntl(self._descriptor, fcntl.F_GETFL)
            fcntl.fcntl(self._descriptor, fcntl.F_SETFL, flags | _DIRECT if on else flags & ~_DIRECT)
            self._direct = on and _DIRECT != 0

    def write(self, parts: Sequence[bytes | memoryview]) -> None:
        for part in parts:
            end = self._used + len(part)
            if end <= _BUFFER:
                self._buffer[self._used : end] = part
                self._used = end
                continue
            rest = memoryview(part)
            while rest:
                if self._used == _BUFFER:
                    self._flush()
                size = min(len(rest), _BUFFER - self._used)
                self._buffer[self._used : self._used + size] = rest[:size]
                self._used += size
                rest = rest[size:]

    def _flush(self) -> None:
        with explained(self._path), memoryview(self._buffer) as buffer:
            if self._direct and self._used % _PAGE:  # the end of the file
                self._go_direct(False)
            written = 0
            while written < self._used:
                with buffer[written : self._used] as rest:
                    try:
                        written += os.write(self._descriptor, rest)
                    except OSError as error:
                        if not self._direct or error.errno != errno.EINVAL:
                            raise
                        self._go_direct(False)  # it was accepted and cannot be done
                if self._direct and written % _PAGE:  # a nearly full disk took a part; writing the rest says why
                    self._go_direct(False)
        self._written += self._used
        self._used = 0
        if not self._direct and self._written - self._begun >= _WRITE_BACK:
            begin_write_back(self._descriptor, self._begun, self._written - self._begun)
            self._begun = self._written

    def commit(self, durable: bool = True) -> None:
        self._finish(durable)
        with explained(self._path):
            os.rename(self._part, self._path)
            if durable:
                sync_folder(self._path.parent)

    def commit_new(self) -> bool:
        """Give the file its name unless another one has it; whether it has. A hard link is atomic on NFS too."""
        self._finish(True)
        try:
            with explained(self._path):
                try:
                    os.link(self._part, self._path)
                except FileExistsError:
                    # The answer of an NFS server may be lost, and the request repeated.
                    return self._path.exists() and self._path.samefile(self._part)
                except OSError as error:
                    if error.errno not in _NO_LINKS:
                        raise
                    raise TargetError(
                        f"{self._path} cannot be created as a hard link, and this file system offers machines no other "
                        "way to agree: choose a destination on another one, or pack without --part"
                    ) from error
                sync_folder(self._path.parent)
                return True
        finally:
            self._part.unlink(missing_ok=True)

    def _finish(self, durable: bool) -> None:
        self._flush()
        with explained(self._path):
            if durable:
                os.fsync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def abort(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._part.unlink(missing_ok=True)


class LocalStorage:
    def __init__(self, root: str) -> None:
        self.url = os.path.abspath(root)

    def path(self, name: str) -> Path:
        return Path(self.url, name)

    def shown(self, name: str) -> str:
        return str(self.path(name))

    def local_path(self, name: str = "") -> str | None:
        return str(self._inside(name))

    def _inside(self, name: str) -> Path:
        """A path to write, or to remove. Raises TargetError when a linked folder leads out of the dataset."""
        path = self.path(name)
        root, folder = os.path.realpath(self.url), os.path.realpath(path if path.is_dir() else path.parent)
        if name and os.path.commonpath([root, folder]) != root:
            raise TargetError(
                f"{path} leads out of {self.url}, to {folder}: remove that link, or choose another destination"
            )
        return path

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[Stream]:
        with open(local_file(self.url, name), "rb", buffering=1 << 20) as file:
            yield _LocalStream(file)

    def read(self, name: str) -> bytes | None:
        try:
            place = local_file(self.url, name)
            need_possible_size(place, os.stat(place).st_size)
            return Path(place).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise TargetError(f"{self.path(name)} cannot be read: {error.strerror or error}") from error

    def size(self, name: str) -> int | None:
        try:
            return self.path(name).stat().st_size
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes, *, durable: bool = True) -> None:
        file = LocalFile(self._inside(name))
        try:
            file.write([data])
            file.commit(durable)
        except BaseException:
            file.abort()
            raise

    def write_new(self, name: str, data: bytes) -> bool:
        file = LocalFile(self._inside(name))
        try:
            file.write([data])
            return file.commit_new()
        except BaseException:
            file.abort()
            raise

    def create(self, name: str) -> LocalFile:
        return LocalFile(self._inside(name), direct=True)

    def files(self, below: str = "") -> dict[str, int]:
        found = {}
        for folder, _, files in os.walk(self._inside(below)):
            inner = os.path.relpath(folder, self.url)
            for name in files:
                path = name if inner == "." else f"{inner}/{name}"
                found[path] = os.lstat(os.path.join(folder, name)).st_size
        return found

    def move(self, name: str, to: str) -> None:
        source, target = self._inside(name), self._inside(to)
        with explained(target):
            make_folder(target.parent)
            os.rename(source, target)
            sync_folder(target.parent)

    def remove(self, name: str) -> None:
        self._inside(name).unlink(missing_ok=True)


class _LocalStream:
    def __init__(self, file: BinaryIO) -> None:
        self.read = file.read
        self.size = os.fstat(file.fileno()).st_size


class explained:  # noqa: N801 (reads as a word at its uses)
    """Turns an OSError of writing into a TargetError that names the path and the remedy."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, OSError):
            return
        if error.errno in _FULL:
            raise TargetError(
                f"{self._path}: there is no room left to write it ({error.strerror}); free some and run the same "
                "command again: finished shards are kept"
            ) from error
        raise TargetError(f"{self._path} cannot be written: {error.strerror}") from error


def begin_write_back(descriptor: int, offset: int, size: int) -> None:
    """Let the kernel begin to write this part of a file to the disk, so that the sync at its end has little left to
    wait for. A hint: where there is no such call, nothing is lost but time.
    """
    if _LIBC is not None:
        _LIBC.sync_file_range(
            ctypes.c_int(descriptor),
            ctypes.c_int64(offset),
            ctypes.c_int64(size),
            ctypes.c_uint(_SYNC_FILE_RANGE_WRITE),
        )


def sync_folder(folder: Path) -> None:
    """A rename is on stable storage once its folder is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it; each is on stable storage once the one above it is."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        if folder.parent == folder:
            break
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
        sync_folder(new.parent)


def open_storage(url: str) -> Storage:
    """The storage behind a path. Raises TargetError for a scheme that cannot be written."""
    scheme, found, _ = url.partition("://")
    if not found or scheme == "file":
        path = url.removeprefix("file://")
        if not is_utf8(os.path.abspath(path)):
            raise TargetError(
                f"{printable(os.path.abspath(path))}: the path is not UTF-8, and Arrow reads no index there: choose "
                "another one, or rename it"
            )
        if os.path.lexists(path) and not os.path.isdir(path):
            raise TargetError(f"{path} is a file, not a folder: choose another destination")
        return LocalStorage(path)
    if is_object_url(url):
        from shard_tools.target.object_storage import ObjectStorage

        return ObjectStorage(url)
    raise TargetError(f"{url}: shards are written to a local path, s3://, gs:// or az://")
