"""Tars read in place: trees of files, and WebDataset shards of others.

A tar has no directory, so listing one goes from header to header. Members of one name up to its first dot are a
sample; the small ones beside an image (`cls`, `json`, `txt`) are its columns, as those of a table's row, and so are the
fields of its `json`. Compressed tars cannot be read in shuffled order: they are unfolded beside the shards first, as
Parquet is.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import lzma
import os
import tarfile
import threading
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from shard_tools.addresses import first_line, is_object_url
from shard_tools.errors import SourceError, ToolError
from shard_tools.layout.columns import NO_COLUMNS, Columns, pick, read_text
from shard_tools.layout.words import folder_stem, split_of_file
from shard_tools.names import IMAGE_SUFFIXES, TABLE_SUFFIXES, TAR_SUFFIXES, is_system_file
from shard_tools.sources.base import ContainerListing, Location
from shard_tools.sources.instead import remedy
from shard_tools.sources.object_store import ObjectRanges
from shard_tools.sources.table_file import ObjectFile, encoded, state_of
from shard_tools.sources.table_rows import Roles, Rows, list_rows
from shard_tools.sources.unfold import written_whole

if TYPE_CHECKING:
    from typing_extensions import Self

_TEXT = (".cls", ".json", ".txt")  # members that are read while listing
_LARGEST_TEXT = 1 << 20  # bytes of such a member
# Words between a sample's name and the suffix of an image, where it has several: a mask or an original is no fake.
_OF_SEVERAL = {
    *("mask", "masks", "seg", "segmentation", "depth", "edge", "edges", "thumb", "thumbnail", "cond", "control"),
    *("original", "orig", "source", "src", "target", "edited", "edit", "input", "output", "before", "after"),
    *("left", "right", "real", "fake", "reference", "ref", "gt", "0", "1"),
}
_AFTER_END = 1 << 20  # bytes looked through behind the end of a tar
_OPENERS: dict[str, Any] = {".gz": gzip.open, ".tgz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_LARGEST_HEADER = 4 << 20  # bytes of a name or PAX record, which tarfile reads into memory
# RecursionError: tarfile reads a header of a header by itself.
_DAMAGE = (OSError, EOFError, tarfile.TarError, zlib.error, lzma.LZMAError, ValueError, RecursionError)


@dataclass(frozen=True)
class TarContainer:
    path: str  # absolute, or an address; of the tar that is read
    name: str  # path within SRC of the file as it was found
    listing: ContainerListing = field(compare=False, repr=False, default_factory=ContainerListing)
    folded: str | None = None  # the compressed tar that this one is still to be unfolded from

    @property
    def prefix(self) -> str:
        return self.name + ":"

    @property
    def folders(self) -> tuple[str, ...]:
        return _above(self.name)

    def contents(self) -> ContainerListing:
        return self.listing

    @property
    def sequential(self) -> TarContainer | None:
        return self if self.folded else None

    def reader(self) -> TarReader:
        return TarReader(self.path)

    def digests(self, places: set[int]) -> Iterator[tuple[int, str]]:
        """(place, sha256) of some members of a compressed tar, which is read from end to end for it."""
        assert self.folded is not None
        sizes = {at: n for part in self.listing.folders for at, n in zip(part.offsets, part.sizes, strict=True)}
        with _opened(self.folded) as file:
            for place in sorted(places):
                file.seek(place)
                yield place, hashlib.sha256(file.read(sizes[place])).hexdigest()

    def identity(self, plan_digest: str) -> str:
        assert self.folded is not None
        return hashlib.sha256(json.dumps([plan_digest, self.folded, *state_of(self.folded)]).encode()).hexdigest()[:16]

    @property
    def unfolded_bytes(self) -> int:
        """To the end of the last image: nothing behind it is read."""
        return max(
            (at + n for part in self.listing.folders for at, n in zip(part.offsets, part.sizes, strict=True)), default=0
        )

    def unfold(self, target: str) -> TarContainer:
        assert self.folded is not None
        if not os.path.exists(target):
            left = self.unfolded_bytes
            with written_whole(target) as part, open(part, "wb") as sink, _opened(self.folded) as source:
                while left:
                    data = source.read(min(left, 1 << 20))
                    if not data:
                        raise SourceError(
                            f"{self.folded} has become shorter since it was listed: bring it back as it was"
                        )
                    sink.write(data)
                    left -= len(data)
        return TarContainer(target, self.name, self.listing)

    def __getstate__(self) -> dict[str, object]:
        # Workers read by Location and need no listing.
        return {**self.__dict__, "listing": ContainerListing()}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)


def _above(path: str) -> tuple[str, ...]:
    """What a tar's path within SRC says, as names of folders: its own name does, unless it is the number of a shard."""
    *above, name = path.split("/")
    stem = name[: -len(_suffix(name))]
    return (*above, stem if folder_stem(stem)[-1:].isalpha() and "of-" not in stem else split_of_file(stem))


class TarReader:
    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._file: int | None = None
        self._objects = ObjectRanges()

    def read(self, where: Location) -> bytes:
        if is_object_url(self._path):
            return self._objects.read(self._path, where.size, where.offset) if where.size else b""
        try:
            with self._lock:
                if self._file is None:
                    self._file = os.open(encoded(self._path), os.O_RDONLY | os.O_CLOEXEC)
            data = os.pread(self._file, where.size, where.offset)
            while 0 < len(data) < where.size:
                more = os.pread(self._file, where.size - len(data), where.offset + len(data))
                if not more:
                    break
                data += more
        except OSError as error:
            raise SourceError(
                f"{self._path} cannot be read ({error.strerror}): bring it back and run the same command again to go on"
            ) from error
        if len(data) != where.size:
            raise SourceError(f"{self._path} has become shorter since it was listed: bring it back as it was")
        return data

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def open_tar(path: str, name: str, columns: Columns = NO_COLUMNS) -> TarContainer:
    """List a tar. What is wrong with it as a whole is in the listing."""
    listing = ContainerListing()
    folded = path if _suffix(name) != ".tar" else None
    try:
        with _opened(path) as file:
            _list(file, path, columns, listing, _above(name))
    except _DAMAGE as error:
        listing.folders = []
        listing.incomplete.append(f"{path} cannot be read: {first_line(error)}; {remedy(path)}")
        folded = None
    return TarContainer(path, name, listing, folded)


def _suffix(name: str) -> str:
    return next((suffix for suffix in TAR_SUFFIXES if name.lower().endswith(suffix)), "")


def _opened(path: str) -> IO[bytes]:
    """The bytes of the tar itself, of a compressed one as they are without compression."""
    raw: Any = ObjectFile(path) if is_object_url(path) else open(encoded(path), "rb")  # noqa: SIM115  # caller closes
    opener = _OPENERS.get(os.path.splitext(path)[1].lower())
    found: IO[bytes] = opener(raw) if opener else raw
    return found


class _Headers:
    """A tar for tarfile, which believes any size that a header claims."""

    def __init__(self, file: IO[bytes]) -> None:
        self.seek, self.tell, self._read = file.seek, file.tell, file.read

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _LARGEST_HEADER:
            raise tarfile.ReadError(f"it has a header of {size:,} bytes")
        return self._read(size)


class _Member(tarfile.TarInfo):
    """tarfile takes a bad header for the end of the tar. Where it moved on before it noticed, what follows may look
    like the end, and a member would be lost without a word."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tar)
        except tarfile.InvalidHeaderError as error:  # type: ignore[attr-defined]
            if tar.offset == 0:
                raise
            raise tarfile.ReadError(f"it has a damaged header before byte {tar.offset} ({error})") from None


@dataclass
class _Image:
    path: str
    size: int
    offset: int
    sample: str


def _list(file: IO[bytes], path: str, columns: Columns, listing: ContainerListing, above: tuple[str, ...]) -> None:
    images: list[_Image] = []
    fields: dict[str, dict[str, object]] = {}  # of each sample
    sparse: list[str] = []
    links = nested = 0
    last = -1
    with tarfile.open(fileobj=_Headers(file), mode="r:", tarinfo=_Member) as tar:  # type: ignore[call-overload]
        for member in tar:
            tar.members = []  # they are not needed again
            if member.size < 0 or member.offset <= last:  # tarfile would read in circles
                raise tarfile.ReadError(f"it has a header with a negative size at byte {member.offset}")
            last = member.offset
            place = "/".join(part for part in member.name.split("/") if part not in ("", ".", ".."))
            if member.isdir() or not place:
                continue
            if any(map(is_system_file, place.split("/"))):
                listing.system_files += 1
                continue
            if place.lower().endswith((*TAR_SUFFIXES, *TABLE_SUFFIXES, ".zip")):
                nested += 1
                continue
            if member.issparse():  # its bytes are stored in pieces, after a map of them
                sparse.append(member.name)
                continue
            if not member.isreg():
                links += 1
                continue
            folder, _, name = place.rpartition("/")
            sample = f"{folder}/{name.split('.', 1)[0]}"
            suffix = name[len(name.split(".", 1)[0]) :].lower()
            if columns.of("image") == suffix.lstrip(".") if columns.of("image") else suffix.endswith(IMAGE_SUFFIXES):
                images.append(_Image(place, member.size, member.offset_data, sample))
            elif suffix.endswith(_TEXT) and member.size <= _LARGEST_TEXT:
                content = tar.extractfile(member)
                assert content is not None
                text = content.read().decode("utf-8", "replace")
                read_text(suffix.lstrip("."), text, fields.setdefault(sample, {}))
            else:
                listing.others[os.path.splitext(name)[1].lower()] += 1
        _check_end(file, tar.offset)
    if nested:
        listing.incomplete.append(
            f"{path}: the {nested:,} archives or tables in it are not read, only those that are files: unpack it and "
            "give the folder"
        )
    if sparse:
        listing.incomplete.append(
            f"{path}: {len(sparse):,} sparse files in it are not read, e.g. {sparse[0]}: make it without tar's --sparse"
        )
    if links:
        listing.problems.append(f"{path}: {links:,} links and special files in it are not read")
    if not columns.of("image"):
        _check_samples(images, path)
    names = list(dict.fromkeys(name for sample in fields.values() for name in sample))
    of_images = [fields.get(image.sample, {}) for image in images]
    roles = Roles(
        "image",
        generator=pick("generator", names, columns, path),
        split=pick("split", names, columns, path),
        label=pick("label", names, columns, path),
        keep=columns.kept_of(names),
    )
    rows = Rows(
        {name: [one.get(name) for one in of_images] for name in roles.names()},
        [image.size for image in images],
        [image.path for image in images],
        names,
        offsets=[image.offset for image in images],
    )
    listing.folders = list_rows(path, rows, roles, columns, listing, above)


def _check_samples(images: list[_Image], path: str) -> None:
    """Raises ToolError where samples hold several images of which the names say that they are different things."""
    ends = [image.path[len(image.sample.lstrip("/")) :].lower() for image in images]
    told = {
        image.sample for image, end in zip(images, ends, strict=True) if _OF_SEVERAL.intersection(end.split(".")[1:-1])
    }
    counts = Counter(image.sample for image in images if image.sample in told)
    several = {sample for sample, count in counts.items() if count > 1}
    if several:
        kinds = sorted({end[1:] for image, end in zip(images, ends, strict=True) if image.sample in several})
        raise ToolError(
            f"{path}: {len(several):,} of its samples hold several images ({', '.join(kinds[:8])}), and nothing says "
            f"which is wanted: name it by --columns image={kinds[0]}"
        )


def _check_end(file: IO[bytes], offset: int) -> None:
    """Raises tarfile.ReadError where the listing stopped at something that is not the end."""
    file.seek(offset)
    behind = file.read(_AFTER_END)
    if behind.strip(b"\0"):
        zeros = len(behind) - len(behind.lstrip(b"\0"))
        what = "it goes on behind its end (were several tars put together?)" if zeros else "it has a damaged header"
        raise tarfile.ReadError(f"{what} at byte {offset + zeros}")
