"""Tables of images: Arrow files (as Hugging Face `datasets` writes them) and Parquet. A row is an image.

Arrow files are mapped into memory and read row by row. Parquet has no such access: a row can only be had with its
whole row group, and packing reads in shuffled order. So Parquet is first unfolded into an Arrow file beside the
shards, which goes when they are finished. The same is done with compressed Arrow files, and with both kinds in an
object store. Memory depends on the pages of Parquet and the batches of Arrow, not on the size of row groups.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from shard_tools.addresses import first_line, is_object_url
from shard_tools.errors import SourceError, UnreadableImageError
from shard_tools.layout.columns import NO_COLUMNS, Columns
from shard_tools.layout.words import split_of_file
from shard_tools.sources.base import ContainerListing, Location
from shard_tools.sources.instead import remedy
from shard_tools.sources.table_file import encoded, is_compressed, open_arrow, read_parts, read_schema, state_of
from shard_tools.sources.table_rows import BYTES, find_roles, images_of, list_rows, other_images, rows_of
from shard_tools.sources.unfold import written_whole

# Copies of tables that the `datasets` library keeps of its own computations.
_OF_COMPUTATIONS = re.compile(r"cache-[0-9a-f]+(?:_\d+_of_\d+)?\.arrow\Z")


@dataclass(frozen=True)
class TableContainer:
    path: str  # absolute; of the Arrow file
    name: str  # path within SRC of the file as it was found
    listing: ContainerListing = field(compare=False, repr=False, default_factory=ContainerListing)
    folded: str | None = None  # the file is still to be unfolded from this one
    image: str = "image"  # the column of the images

    @property
    def prefix(self) -> str:
        return self.name + ":"

    @property
    def folders(self) -> tuple[str, ...]:
        return _above(self.name)

    def contents(self) -> ContainerListing:
        return self.listing

    @property
    def sequential(self) -> TableContainer | None:
        return self if self.folded else None

    def reader(self) -> TableReader:
        return TableReader(self.path, self.image)

    def digests(self, places: set[int]) -> Iterator[tuple[int, str]]:
        """(place, sha256 of the image) of some rows of a folded table, which is read from end to end for it."""
        assert self.folded is not None
        begin, last = 0, max(places)
        for table in read_parts(self.folded, (self.image,)):
            images = images_of(table, self.image)
            for place in places.intersection(range(begin, begin + len(images))):
                yield place, hashlib.sha256(images[place - begin].as_buffer()).hexdigest()
            begin += len(images)
            if begin > last:
                return

    def identity(self, plan_digest: str) -> str:
        """The plan alone will not do: files of the same names and sizes have the same one."""
        assert self.folded is not None
        return hashlib.sha256(json.dumps([plan_digest, self.folded, *state_of(self.folded)]).encode()).hexdigest()[:16]

    @property
    def unfolded_bytes(self) -> int:
        return sum(sum(part.sizes) for part in self.listing.folders)

    def unfold(self, target: str) -> TableContainer:
        assert self.folded is not None
        if not os.path.exists(target):
            schema = pa.schema([("image", pa.large_binary())])
            with (
                written_whole(target) as part,
                pa.OSFile(encoded(part), "wb") as sink,
                pa.ipc.new_file(sink, schema) as writer,
            ):
                for table in read_parts(self.folded, (self.image,)):
                    images = images_of(table, self.image).cast(pa.large_binary())
                    writer.write_table(pa.table({"image": images}, schema=schema))
        return TableContainer(target, self.name, self.listing)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "listing": ContainerListing()}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)


def _above(path: str) -> tuple[str, ...]:
    """What a table's path within SRC says, as names of folders."""
    *above, name = path.split("/")
    return (*above, split_of_file(name.rpartition(".")[0]))


class TableReader:
    def __init__(self, path: str, image: str) -> None:
        self._path, self._image = path, image
        self._lock = threading.Lock()
        self._chunks: list[pa.Array] | None = None
        self._starts: Any = None

    def read(self, where: Location) -> bytes:
        with self._lock:
            if self._chunks is None:
                try:
                    self._chunks = images_of(open_arrow(self._path), self._image).chunks
                except (OSError, pa.ArrowException) as error:
                    raise SourceError(
                        f"{self._path} cannot be read ({error}): bring it back and run the same command again to go on"
                    ) from error
                self._starts = np.cumsum([0, *map(len, self._chunks)])
        number = int(np.searchsorted(self._starts, where.offset, side="right")) - 1
        if number >= len(self._chunks):
            raise SourceError(f"{self._path} has become shorter since it was listed: bring it back as it was")
        value = self._chunks[number][where.offset - int(self._starts[number])]
        if not value.is_valid:
            raise UnreadableImageError("the row has no image bytes")
        data = bytes(value.as_buffer())
        if len(data) != where.size:
            raise SourceError(f"{self._path} has changed since it was listed: run the command again")
        return data

    def close(self) -> None:
        self._chunks = None


def open_table(path: str, name: str, columns: Columns = NO_COLUMNS) -> TableContainer:
    """List a table file. What is wrong with it as a whole is in the listing."""
    listing = ContainerListing()
    folded, image = False, "image"
    try:
        if not is_object_url(path) and not stat.S_ISREG(os.stat(path).st_mode):
            raise OSError("it is not a file")  # opening a pipe would wait for somebody to write to it
        schema = read_schema(path)
        if _OF_COMPUTATIONS.match(name.rpartition("/")[2]):
            listing.problems.append(f"{path} is not read: it is the `datasets` library's copy of a computation")
        elif _may_hold_images(schema):
            roles = find_roles(schema, columns, path)
            image = roles.image
            folded = path.lower().endswith(".parquet") or is_object_url(path) or is_compressed(path)
            parts = read_parts(path, (image, *roles.names())) if folded else [open_arrow(path)]
            rows = rows_of(parts, roles, schema)
            if not rows.paths:
                raise pa.ArrowInvalid("it has no rows")
            listing.notes += other_images(schema, roles, columns)
            listing.folders = list_rows(path, rows, roles, columns, listing, _above(name))
        else:
            listing.problems.append(
                f"{path} is not read: it has no column of image bytes (its columns: {', '.join(schema.names[:20])})"
            )
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:  # the last two: doubled names, text not UTF-8
        listing.incomplete.append(f"{path} cannot be read: {first_line(error)}; {remedy(path)}")
        folded = False
    return TableContainer(path, name, listing, path if folded else None, image)


def _may_hold_images(schema: pa.Schema) -> bool:
    """Whether there is any column of bytes; tables of URLs and captions lie beside the images of some data sets."""
    kinds = [inner.type for field in schema for inner in (field.type if pa.types.is_struct(field.type) else [field])]
    return any(str(kind) in BYTES for kind in kinds)
