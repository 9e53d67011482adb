"""A tree of plain files."""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

from shard_tools.errors import SourceError, UnreadableFileError, UnreadableImageError
from shard_tools.names import IMAGE_SUFFIXES, TABLE_SUFFIXES, is_system_file
from shard_tools.sources.base import ContainerListing, FolderListing, Location
from shard_tools.sources.volumes import is_archive_name

# Faults of the one file; anything else (a disk or a network that went away) is the source's.
_FILE_FAULTS = {errno.EACCES, errno.EPERM, errno.EIO, errno.EISDIR, errno.ELOOP, errno.ENXIO, errno.EINVAL}

TOLD = 1000  # files after which it is told how far the listing is
NOT_A_FILE = "unreadable: neither a file nor a link to one (a pipe, a socket or a device)"


# A folder that is reached by links to links more often than this: a few dozen of them make millions of paths.
MOST_PATHS = 100


class _Folder(NamedTuple):
    path: str  # within the root
    above: frozenset[tuple[int, int]]  # itself and the folders it was reached through: links may lead back to them
    itself: tuple[int, int]
    links: int = 0  # on the way to it


def _identity(facts: os.stat_result) -> tuple[int, int]:
    return facts.st_dev, facts.st_ino


@dataclass(frozen=True)
class FolderContainer:
    root: str  # absolute path of SRC
    name: str = ""

    @property
    def prefix(self) -> str:
        return self.name + "/" if self.name else ""

    @property
    def folders(self) -> tuple[str, ...]:
        return tuple(self.name.split("/")) if self.name else ()

    def contents(self, found: Callable[[int], None] = lambda files: None) -> ContainerListing:
        """Every file below the root. Folders are listed by several threads: network disks answer slowly, not seldom.
        `found` is told of every thousand or so.
        """
        listing = ContainerListing()
        paths: Counter[tuple[int, int]] = Counter()  # to folders behind two links and more
        root = _identity(os.stat(self.root))
        with ThreadPoolExecutor(8) as pool:
            pending = [pool.submit(self._scan, _Folder("", frozenset({root}), root), found)]
            while pending:
                folder, below, part = pending.pop().result()
                for inner in below:
                    paths[inner.itself] += inner.links > 1
                    if paths[inner.itself] > MOST_PATHS:
                        pool.shutdown(wait=False, cancel_futures=True)
                        raise SourceError(
                            f"{os.path.join(self.root, inner.path)} is one of more than {MOST_PATHS} paths to the same "
                            "folder by links within linked folders: put folders, or links to files, in place of these "
                            "links"
                        )
                    pending.append(pool.submit(self._scan, inner, found))
                listing.system_files += part.system_files
                listing.problems += part.problems
                listing.incomplete += part.incomplete
                listing.unlisted |= part.unlisted
                listing.changed |= part.changed
                if folder.names:
                    listing.folders.append(folder)
        listing.folders.sort(key=lambda folder: folder.path)
        return listing

    def _scan(self, of: _Folder, found: Callable[[int], None]) -> tuple[FolderListing, list[_Folder], ContainerListing]:
        """(the folder's files, the folders in it, what else there is to say)."""
        path = of.path
        folder, below, part = FolderListing(path), [], ContainerListing()
        names, sizes = folder.names, folder.sizes
        prefix = path + "/" if path else ""
        refused: list[str] = []  # why files in it cannot be looked at
        try:
            where = os.path.join(self.root, path)
            part.changed[where] = [os.stat(where).st_mtime_ns]
            with os.scandir(where) as entries:
                for entry in entries:
                    name = entry.name
                    if is_system_file(name):
                        part.system_files += 1
                        continue
                    size = 0
                    try:
                        if entry.is_dir():
                            inner = _identity(entry.stat())
                            if entry.is_symlink() and (inner in of.above or self._leads_up(prefix + name)):
                                part.problems.append(
                                    f"{entry.path} is a link to a folder above itself; it is not followed"
                                )
                            else:
                                links = of.links + entry.is_symlink()
                                below.append(_Folder(prefix + name, of.above | {inner}, inner, links))
                            continue
                        facts = entry.stat()
                        size = facts.st_size
                        if not stat.S_ISREG(facts.st_mode):
                            folder.unreadable[name] = NOT_A_FILE
                    except OSError as error:  # a link that leads nowhere, or round and round, or where it may not
                        if _may_be_folder(entry):
                            self._unlisted(part, prefix + name, error, os.path.islink(entry.path))
                            continue
                        folder.unreadable[name] = f"unreadable: {error.strerror}"
                        refused.append(error.strerror or "unknown error")
                    names.append(name)
                    sizes.append(size)
                    if not len(names) % TOLD:
                        found(TOLD)
            found(len(names) % TOLD)
        except OSError as error:
            self._unlisted(part, path, error)
        # A few such files are bad files; most of them are a folder that may not be searched, or links to a lost disk.
        if 2 * len(refused) > len(names) > 1:
            place = os.path.join(self.root, path)
            part.incomplete.append(
                f"{place}: {len(refused)} of its {len(names)} files cannot be read "
                f"({refused[0]}): make them readable, mount their disk, or take them out of the source"
            )
        return folder, below, part

    def _unlisted(self, part: ContainerListing, path: str, error: OSError, link: bool = False) -> None:
        place, why = os.path.join(self.root, path), error.strerror
        part.unlisted[path] = f"the folder cannot be listed: {why}"
        if link:
            part.incomplete.append(
                f"{place} is a link to {_target(place)}, which cannot be reached ({why}): mount its disk, or remove "
                "the link"
            )
        else:
            part.incomplete.append(
                f"{place} cannot be listed ({why}): make it readable and searchable (chmod u+rx), or move it out of "
                "the source"
            )

    def _leads_up(self, link: str) -> bool:
        here = os.path.realpath(os.path.join(self.root, os.path.dirname(link)))
        there = os.path.realpath(os.path.join(self.root, link))
        return os.path.commonpath([here, there]) == there

    @property
    def sequential(self) -> None:
        return None

    def reader(self) -> FolderReader:
        return FolderReader(self.root)


def _may_be_folder(entry: os.DirEntry[str]) -> bool:
    """Whether something that cannot be looked at may hold images: a folder, or a link not named like a file of one."""
    try:
        if entry.is_dir(follow_symlinks=False):
            return True
        if entry.is_file(follow_symlinks=False):
            return False
    except OSError:
        pass  # the file system does not say what it is
    return not (entry.name.lower().endswith((*IMAGE_SUFFIXES, *TABLE_SUFFIXES)) or is_archive_name(entry.name))


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return "somewhere"


class FolderReader:
    def __init__(self, root: str) -> None:
        self._prefix = root.rstrip("/") + "/"

    def read(self, where: Location) -> bytes:
        path = self._prefix + where.path
        try:
            # Without O_NONBLOCK, opening a pipe waits for somebody to write to it.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                facts = os.fstat(descriptor)
                if not stat.S_ISREG(facts.st_mode):
                    raise UnreadableImageError(NOT_A_FILE)
                # One byte more than planned shows a file that grew; a short read shows one that shrank.
                data = os.read(descriptor, where.size + 1)
                while 0 < len(data) < where.size:
                    more = os.read(descriptor, where.size + 1 - len(data))
                    if not more:
                        break
                    data += more
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._fault(path, error) from error
        if data and not where.size and not facts.st_size:
            raise UnreadableImageError("the system does not tell the file's size (a link to a file of /proc?)")
        if len(data) != where.size:
            raise SourceError(
                f"{path} had {where.size} bytes when it was listed and has another size now: somebody is changing the "
                "source; run the command again when that is over"
            )
        return data

    def _fault(self, path: str, error: OSError) -> Exception:
        if error.errno in _FILE_FAULTS and os.path.isdir(os.path.dirname(path)):
            return UnreadableFileError(f"unreadable: {error.strerror}", path)
        return SourceError(
            f"{path} was listed but cannot be read now ({error.strerror}): bring the source back and run the same "
            "command again to go on, or remove the destination and start anew"
        )

    def close(self) -> None:
        pass
