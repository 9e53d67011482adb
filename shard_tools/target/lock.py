"""One packer at a time in one local destination."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from genimage_stream.schema import PACK_FOLDER
from shard_tools.errors import TargetError
from shard_tools.target.local_storage import Storage, explained, make_folder

LOCK = f"{PACK_FOLDER}/lock"


@contextlib.contextmanager
def locked(storage: Storage) -> Iterator[None]:
    """Hold the destination. The lock goes with the process, however it ends. Object stores have none: there every
    write is whole and the same from every packer of the same plan, so a second one costs time and does no harm.
    """
    place = storage.local_path(LOCK)
    if place is None:
        yield
        return
    path = Path(place)
    while True:
        with explained(path):
            make_folder(path.parent)
            if path.is_symlink():
                raise TargetError(f"{path} is not the lock of a packer: remove it")
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise TargetError(
                f"{storage.url} is being packed by another process ({holder or 'unknown'}): wait for it, or stop it "
                "and run again"
            ) from None
        except OSError as error:  # network disks that are mounted without locks
            os.close(descriptor)
            raise TargetError(
                f"{path} cannot be locked ({error.strerror}): mount this file system with locks (Lustre: -o flock; "
                "NFS: with its lock service running), or choose a destination on another one"
            ) from error
        if _is(path, descriptor):
            break
        os.close(descriptor)  # its holder finished and removed it in between
    try:
        if (facts := os.fstat(descriptor)).st_nlink > 1 or not stat.S_ISREG(facts.st_mode):  # it may be any file
            raise TargetError(f"{path} is not the lock of a packer: remove it")
        with explained(path):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()}\n".encode())
        yield
        if not any(name != LOCK for name in storage.files(PACK_FOLDER)):
            shutil.rmtree(path.parent, ignore_errors=True)
    finally:
        os.close(descriptor)


def _is(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
