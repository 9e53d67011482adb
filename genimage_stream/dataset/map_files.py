"""Where `.index.arrow` is: beside the index, where `pack` writes it, or in the user's cache, where a first reader does.

A file is taken when it was made of the index that is open. That is known by the inode, times and size of that file and
by its footer; where these differ (a dataset that was copied has others), by the SHA-256 of the whole index, which the
cache remembers together with them. What is in the user's cache has to be the user's own.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from genimage_stream import schema
from genimage_stream.dataset.index_map import IndexMap, MapContents, Origin, UnusableMapError, write_map
from genimage_stream.storage.versions import LocalSnapshot
from genimage_stream.storage.within import local_file

log = logging.getLogger("genimage_stream")

_PLAIN = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_PATIENCE = 60.0  # seconds for another process that makes the map
_UNUSED = 60 * 86400  # seconds after which a map that nobody opened is removed
_BYTES_A_ROW = 200  # of a map, at most about


def cache_folder() -> Path:
    """In the cache folder of the XDG base directory specification."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "genimage-stream" / "index"


class MapFiles:
    """The maps of a dataset in a local folder, whose `index` is open; it has `rows` rows and `footer` as its end."""

    def __init__(self, root: str, index: LocalSnapshot, rows: int, footer: bytes) -> None:
        self._root, self._index, self._rows = root, index, rows
        self._footer = hashlib.sha256(footer).hexdigest()
        self._identity = index.identity()
        self._digest: str | None = None
        self._damaged: set[str] = set()

    def find(self) -> IndexMap | None:
        """A map of this index; None when there is none that can be used."""
        with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: nobody knows where the home is
            if (found := self._usable(self._kept(".arrow"), own=True)) is not None:
                _touch(self._kept(".arrow"))
                return found
        with contextlib.suppress(OSError):
            return self._usable(Path(local_file(self._root, schema.MAP_FILE)), own=False)
        return None

    def make(self, contents: Callable[[], MapContents]) -> IndexMap | None:
        """Write the map to the user's cache, unless another process does meanwhile; None where that cannot be."""
        try:
            with _alone(self._kept(".lock")):
                if (found := self.find()) is not None:
                    return found
                place = self._kept(".arrow")
                if shutil.disk_usage(place.parent).free < 2 * _BYTES_A_ROW * self._rows:
                    return None
                _remove_unused(place.parent)
                self._write(place, contents())
                self._damaged.discard(str(place))
                return self._usable(place, own=True)
        except (OSError, ValueError, RuntimeError) as error:
            # What is wrong with the index is said where its columns are read.
            log.debug("%s/%s is read without a map: %s", self._root, schema.INDEX_FILE, error)
            return None

    def write_beside(self, contents: MapContents) -> None:
        """Write the map into the dataset's folder. Raises OSError."""
        self._write(Path(local_file(self._root, schema.MAP_FILE)), contents)

    def fault_beside(self) -> str | None:
        """What is wrong with the map in the dataset's folder, by the digest of the whole index; None: nothing, or there
        is none."""
        self._digest = self._index.digest()
        try:
            descriptor = os.open(local_file(self._root, schema.MAP_FILE), _PLAIN)
        except FileNotFoundError:
            return None
        except OSError as error:
            return error.strerror or str(error)
        try:
            found = IndexMap(descriptor, schema.MAP_FILE)
            if found.origin.digest != self._digest:
                return f"made of another {schema.INDEX_FILE}"
            found.check()
        except UnusableMapError:
            return "damaged"
        finally:
            os.close(descriptor)
        return None

    def refuse(self, unusable: IndexMap) -> None:
        """Take this file no more: it turned out to be damaged."""
        self._damaged.add(unusable.name)

    def _write(self, place: Path, contents: MapContents) -> None:
        origin = Origin(self._identity, self._footer, self._whole_digest(), self._rows)
        if self._index.identity() != self._identity:
            raise OSError(f"{self._root} changes while its index is read")
        write_map(place, origin, contents)

    def _usable(self, place: Path, *, own: bool) -> IndexMap | None:
        """The map there, if it is of this index; `own`: and the user's."""
        if str(place) in self._damaged:
            return None
        try:
            descriptor = os.open(place, _PLAIN | (os.O_NOFOLLOW if own else 0))
        except OSError:
            return None
        try:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode) or (own and not _private(facts)):
                return None
            found = IndexMap(descriptor, str(place))
        except (OSError, UnusableMapError) as error:
            log.debug("%s is ignored: %s", place, error)
            return None
        finally:
            os.close(descriptor)
        return found if self._is_of(found.origin) else None

    def _is_of(self, origin: Origin) -> bool:
        if (origin.footer, origin.rows) != (self._footer, self._rows):
            return False
        return origin.identity == self._identity or origin.digest == self._whole_digest()

    def _whole_digest(self) -> str:
        """SHA-256 of the index: remembered, or of all of it, tenths of a second for millions of rows."""
        if self._digest is not None:
            return self._digest
        known = {"identity": self._identity, "footer": self._footer}
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            place = self._kept(".json")
            if _private(place.lstat()):
                said = json.loads(place.read_bytes())
                if isinstance(said, dict) and said.items() >= known.items():
                    self._digest = str(said["digest"])
                    return self._digest
        self._digest = self._index.digest()
        with contextlib.suppress(OSError, RuntimeError):
            place = self._kept(".json")
            unfinished = place.with_suffix(f".{os.getpid()}-{os.urandom(4).hex()}.part")
            unfinished.write_text(json.dumps({**known, "digest": self._digest}))
            os.chmod(unfinished, 0o600)
            os.replace(unfinished, place)
        return self._digest

    def _kept(self, suffix: str) -> Path:
        """A file of this dataset in the user's cache, whose folder is made."""
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder / (hashlib.sha256(os.fsencode(os.path.realpath(self._root))).hexdigest()[:32] + suffix)


def _private(facts: os.stat_result) -> bool:
    """Whether a file is this user's, and nobody else may write to it."""
    return stat.S_ISREG(facts.st_mode) and facts.st_uid == os.geteuid() and not facts.st_mode & 0o022


def _touch(place: Path) -> None:
    """Say that a map is in use; the time of its last change stays."""
    facts = place.stat()
    if time.time() - facts.st_atime > 86400:
        os.utime(place, ns=(time.time_ns(), facts.st_mtime_ns))


def _remove_unused(folder: Path) -> None:
    for place in folder.iterdir():
        if place.suffix in (".arrow", ".part", ".json", ".lock") and time.time() - place.stat().st_atime > _UNUSED:
            place.unlink(missing_ok=True)


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One process at a time. Raises OSError where there are no locks, or another one takes too long."""
    descriptor = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)
