"""A cache of shards on a local disk: bounded, shared by the processes of a machine, intact after any kill.

It uses only file locks and renames, no daemon and no database:

* A shard is under its final name only when it is complete, checked and on stable storage.
* The process that downloads a shard holds an exclusive lock on its `.part` file; others wait as long as the file is
  being written to, or bypass the cache. A killed process loses its lock; the next one starts the `.part` again.
* A process that reads a shard holds a shared lock on it; eviction takes the exclusive lock first, so it never removes a
  shard in use.
* Room is reserved before a download by giving the `.part` its full length, under the lock of the whole cache; the least
  recently used shards are evicted first.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PART = ".part"
LOCK = "lock"  # the file whose lock is that of the whole cache
# Links that others left in a shared cache are not followed, and opening a pipe does not block.
_PLAIN = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_NAME, _NAME_BYTES = "name", 4096  # the file that says where the shards of a folder are from
_DATASET = re.compile(r"[0-9a-f]{24}")  # the folder of one in a cache


class CachedShard:
    """A complete shard that is not evicted while this is open."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`; fewer at the end of the file."""
        return os.pread(self._descriptor, size, offset)

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> CachedShard:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


class Download:
    """A shard that is being downloaded into the cache, locked by this process: write it, then `finish` or `abandon`."""

    def __init__(self, descriptor: int, part: Path, final: Path) -> None:
        self._descriptor = descriptor
        self._part = part
        self._final = final

    def write(self, offset: int, data: memoryview | bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.pwrite(self._descriptor, view, offset)
            offset, view = offset + written, view[written:]

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self._descriptor, size, offset)

    def finish(self) -> CachedShard:
        """Make it a shard of the cache; returns it, held."""
        os.fsync(self._descriptor)
        os.rename(self._part, self._final)
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)
        descriptor, self._descriptor = self._descriptor, -1
        return CachedShard(descriptor)

    def abandon(self) -> None:
        """Remove what was written."""
        if self._descriptor >= 0:
            self._part.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1


class ShardCache:
    """At most `limit` bytes of shards under `folder`; `dataset` tells the shards of different datasets apart.

    `own` is the folder of this one's. `lock_seconds`: how long to wait for the lock of the whole cache, which others
    hold for milliseconds.
    """

    def __init__(self, folder: str | Path, limit: int, dataset: str, *, lock_seconds: float = 60.0) -> None:
        self.folder = Path(folder).expanduser().absolute()
        self.limit = limit
        self._lock_seconds = lock_seconds
        self._dataset = dataset
        self.own = self.folder / hashlib.blake2b(dataset.encode(), digest_size=12).hexdigest()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise NotADirectoryError(
                f"cache_dir={self.folder} is not a folder: give another one, or remove it"
            ) from None

    def hold(self, shard: str, end: int) -> CachedShard | None:
        """The cached shard, held; None when it is missing, or damaged because it ends before byte `end`."""
        path = self.own / shard
        try:
            descriptor = _locked(path, os.O_RDONLY, fcntl.LOCK_SH)
        except OSError as error:
            # ELOOP is for a link and ENOTDIR for a file in place of a folder, which this cache never makes.
            if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR):
                return None
            raise
        if descriptor is None:
            return None
        held = CachedShard(descriptor)
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            held.close()
            return None
        if facts.st_size < end:
            held.close()
            self._check_within(path)
            _remove_unused(path)
            return None
        os.utime(descriptor)  # used just now
        return held

    def begin(self, shard: str, size: int, *, evict: bool) -> Download | None:
        """Start to download a shard of `size` bytes. None when another process is downloading it, it is cached already,
        or there is no room (with `evict`, not even after evicting unused shards). Raises OSError for a full disk."""
        final = self.own / shard
        part = final.with_name(final.name + PART)
        self._check_within(final)
        final.parent.mkdir(parents=True, exist_ok=True)
        self._note_name()
        descriptor = _locked(part, os.O_RDWR | os.O_CREAT, fcntl.LOCK_EX)
        if descriptor is None:
            return None
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode) or facts.st_nlink > 1:  # a second name may be that of any file
            os.close(descriptor)
            raise OSError(f"{part} is not a file of this cache: remove it")
        download = Download(descriptor, part, final)
        if final.exists():
            download.abandon()
            return None
        try:
            os.ftruncate(descriptor, 0)
            with self._all_locked():
                room = self._make_room(size, evict)
                if room and size:
                    os.posix_fallocate(descriptor, 0, size)
        except BaseException:
            download.abandon()
            raise
        if not room:
            download.abandon()
            return None
        return download

    def _note_name(self) -> None:
        """Beside the shards of a dataset, where they are from, for people."""
        note = self.own / _NAME
        if os.path.lexists(note):
            return
        descriptor, beside = tempfile.mkstemp(prefix=f"{_NAME}.", dir=self.own)
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o644)
            file.write(self._dataset.encode()[:_NAME_BYTES])  # the address, a line end, which dataset there
        os.rename(beside, note)

    def _check_within(self, path: Path) -> None:
        """Raises OSError for a file that would be written or removed outside of the cache, through a linked folder."""
        here, there = os.path.realpath(self.folder), os.path.realpath(path.parent)
        if os.path.commonpath([here, there]) != here:
            raise OSError(f"{path.parent} leads out of the cache, to {there}: remove that link")

    def being_downloaded(self, shard: str) -> int | None:
        """When the process that is downloading this shard last wrote to it, in ns; None when no process is."""
        part = self.own / (shard + PART)
        try:
            descriptor = os.open(part, os.O_RDONLY | _PLAIN)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return os.fstat(descriptor).st_mtime_ns
        finally:
            os.close(descriptor)
        return None

    def size(self) -> int:
        """Bytes that the cache holds, room reserved for downloads included."""
        return sum(size for _, size, _ in _files(self.folder))

    def _make_room(self, size: int, evict: bool) -> bool:
        files = sorted(_files(self.folder))
        used = sum(held for _, held, _ in files)
        for _, held, path in files:
            if used + size <= self.limit or not evict:
                break
            if _remove_unused(path):
                used -= held
        return used + size <= self.limit

    @contextmanager
    def _all_locked(self) -> Iterator[None]:
        """Room is counted and reserved by one process at a time. The lock is held for milliseconds, so a process that
        holds it for long has been stopped: an OSError."""
        path = self.folder / LOCK
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _PLAIN, 0o644)
        deadline = time.monotonic() + self._lock_seconds
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise TimeoutError(
                            f"another process has held {path} for {self._lock_seconds:g} s: end it, or use another "
                            "cache_dir"
                        ) from None
                    time.sleep(0.01)
            yield
        finally:
            os.close(descriptor)


@dataclass(frozen=True)
class Held:
    """What a cache holds of one dataset: `address` is where it is from, "" when that is not known; `shards` complete
    ones, of `size_bytes`; `unfinished` downloads; `used` when one was last used, in seconds since 1970."""

    address: str
    shards: int
    size_bytes: int
    unfinished: int
    used: float


def contents(folder: str | Path) -> list[Held]:
    """What the cache in `folder` holds, the dataset used last first. Raises FileNotFoundError when there is no such
    folder."""
    found: dict[Path, list[tuple[float, int, Path]]] = {}
    root = _existing(folder)
    for entry in _files(root):
        found.setdefault(root / entry[2].relative_to(root).parts[0], []).append(entry)
    held = []
    for own, entries in found.items():
        complete = [size for _, size, path in entries if path.suffix != PART]
        held.append(Held(_address(own), len(complete), sum(complete), len(entries) - len(complete), max(entries)[0]))
    return sorted(held, key=lambda one: -one.used)


def open_shard(root: Path, path: str) -> CachedShard | None:
    """The complete shard at a path within the cache in `root`, held; None for whatever else is there."""
    place = root / path
    try:
        if os.path.realpath(place) != str(place) or _DATASET.fullmatch(path.partition("/")[0]) is None:
            return None
        descriptor = _locked(place, os.O_RDONLY, fcntl.LOCK_SH)
    except OSError:
        return None
    if descriptor is None:
        return None
    held = CachedShard(descriptor)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return held
    held.close()
    return None


def clear(folder: str | Path, of: Callable[[str], bool]) -> tuple[int, int]:
    """Remove the shards of datasets whose addresses `of` picks, but those in use; how many were removed and kept."""
    root, removed, kept = _existing(folder), 0, 0
    picked: dict[str, bool] = {}
    for _, _, path in list(_files(root)):
        own = path.relative_to(root).parts[0]
        if own not in picked:
            picked[own] = of(_address(root / own))
        if picked[own]:
            gone = _remove_unused(path)
            removed, kept = removed + gone, kept + (not gone)
    return removed, kept


def _existing(folder: str | Path) -> Path:
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}: give the cache_dir with which datasets are opened")
    return root


def _address(own: Path) -> str:
    try:
        descriptor = os.open(own / _NAME, os.O_RDONLY | _PLAIN)
    except OSError:
        return ""
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return ""
        said = file.read(_NAME_BYTES).decode("utf-8", "replace")
    return said.partition("\n")[0]


def _files(root: Path) -> Iterator[tuple[float, int, Path]]:
    """(time of last use, bytes, path) of every shard, complete or not, of every dataset."""
    # Whatever else is in the folder is not the cache's, and stays.
    own = [path for path in root.iterdir() if _DATASET.fullmatch(path.name) and not path.is_symlink()]
    for folder, _, names in (entry for path in own for entry in os.walk(path)):
        for name in names:
            if name.endswith((".tar", PART)):
                path = Path(folder, name)
                try:
                    facts = path.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(facts.st_mode):
                    yield facts.st_mtime, facts.st_size, path


def _locked(path: Path, flags: int, lock: int) -> int | None:
    """A descriptor of the file at `path`, locked; None when another process holds a lock that excludes this one, or
    removed or replaced the file meanwhile."""
    descriptor = os.open(path, flags | _PLAIN, 0o644)
    held = False
    try:
        fcntl.flock(descriptor, lock | fcntl.LOCK_NB)
        held = os.path.samestat(os.fstat(descriptor), os.stat(path))
    except (BlockingIOError, FileNotFoundError):
        pass
    finally:
        if not held:
            os.close(descriptor)
    return descriptor if held else None


def _remove_unused(path: Path) -> bool:
    """Remove a file unless some process holds a lock on it; whether it is gone."""
    try:
        descriptor = _locked(path, os.O_RDONLY, fcntl.LOCK_EX)
    except FileNotFoundError:
        return True
    if descriptor is None:
        return False
    path.unlink(missing_ok=True)
    os.close(descriptor)
    return True
