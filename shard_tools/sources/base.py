"""What every kind of source offers: a listing of its files by folder, and a reader of their bytes.

A container (a folder tree, an archive, a table file) lists itself once, in the process that plans. What it lists is
plain data, so that any worker on any machine that sees the same storage can open the container and read one file of
it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol


class Location(NamedTuple):
    """Where the bytes of one file are within its container; each kind of container uses what it needs."""

    path: str  # within the container, "/" between folders
    size: int  # bytes of the file itself
    offset: int = 0  # zip: of the local header; table: number of the row
    stored: int = 0  # zip: bytes in the archive
    method: int = 0  # zip: 0 stored, 8 deflate
    crc: int = 0  # zip: CRC-32 of the file


@dataclass(frozen=True)
class Said:
    """What the columns of a table say of its rows, nearer to the image than any folder's name."""

    generator: str | None = None
    split: str | None = None
    label: str | None = None
    unnamed: bool = False  # the column that names generators names none


@dataclass
class FolderListing:
    """The files of one folder of a container, as columns of equal length."""

    path: str  # within the container; "" is its root
    names: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)  # the last four are empty for plain folders
    stored: list[int] = field(default_factory=list)
    methods: list[int] = field(default_factory=list)
    crcs: list[int] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)  # name -> reason, known without reading
    of_images: bool = False  # all of them are images, whatever their names
    said: Said | None = None
    kept: dict[str, list[Any]] = field(default_factory=dict)  # column of --keep -> its values
    undecided: str = ""  # a sentence on what has to be said before labels can be known
    hint: str = ""  # the option that says what these files are, where it is not --map


@dataclass
class ContainerListing:
    folders: list[FolderListing] = field(default_factory=list)
    system_files: int = 0
    others: Counter[str] = field(default_factory=Counter)  # files that are no images, by suffix
    problems: list[str] = field(default_factory=list)  # sentences about the container as a whole
    incomplete: list[str] = field(default_factory=list)  # parts of it that are missing: packing waits for them
    notes: list[str] = field(default_factory=list)
    unlisted: dict[str, str] = field(default_factory=dict)  # folder within it -> why it cannot be listed
    changed: dict[str, list[int]] = field(default_factory=dict)  # folder on disk -> [when its names changed, in ns]


class Reader(Protocol):
    """Reads files of one container; several threads may read at once."""

    def read(self, where: Location) -> bytes:
        """The whole file. Raises UnreadableImageError for this file alone, SourceError when the container is at
        fault.
        """

    def close(self) -> None: ...


class Sequential(Protocol):
    """A container whose files can only be read from the first to the last, e.g. Parquet."""

    def digests(self, places: set[int]) -> Iterator[tuple[int, str]]:
        """(place, sha256) of some of its files, in one pass; `Location.offset` is the place."""

    def identity(self, plan_digest: str) -> str:
        """Digits that are others for another file, another state of it or another plan."""

    @property
    def unfolded_bytes(self) -> int:
        """What `unfold` writes, but for a few headers."""

    def unfold(self, target: str) -> Container:
        """Write all files to one local file `target`, if it is not there, that can be read in any order."""


class Container(Protocol):
    """A picklable description of a container."""

    @property
    def name(self) -> str:
        """Path within SRC, "" for SRC itself."""

    @property
    def prefix(self) -> str:
        """What precedes the paths of its files in the column `source`: "", "folder/" or "archive.zip:"."""

    @property
    def folders(self) -> tuple[str, ...]:
        """The folder names above its own, outermost first: they too say what its files are."""

    @property
    def sequential(self) -> Sequential | None:
        """None when its files can be read in any order, otherwise the way to make that possible."""

    def reader(self) -> Reader: ...
