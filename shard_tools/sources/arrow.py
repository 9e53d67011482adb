"""Mirrors of GenImage as tables: Arrow files (as Hugging Face `datasets` writes them) and Parquet.

A row is an image: a column `image` of bytes, or of a struct with `bytes` and `path`; its path in `image_path`, `path`
or `file_name`; and perhaps a `label`. The path says most. A label is believed where it is a word (or the number of a
word that the file's own metadata names); a bare number means whatever it means for those rows of the file whose path
tells, because mirrors number real and fake both ways.

Arrow files are mapped into memory and read row by row. Parquet has no such access: a row can only be had with its
whole row group, and packing reads in shuffled order. So Parquet is first unfolded into an Arrow file beside the
shards, which goes when they are finished. The same is done with compressed Arrow files, and with both kinds in an
object store. Memory depends on the pages of Parquet and the batches of Arrow, not on the size of row groups.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genimage_stream.vocabulary import FAKE, LABEL_ALIASES, REAL, simplify
from shard_tools.addresses import first_line, is_object_url
from shard_tools.errors import SourceError, UnreadableImageError
from shard_tools.layout.place import place_of
from shard_tools.names import generator_hint, is_system_file, real_split
from shard_tools.sources.base import ContainerListing, FolderListing, Location
from shard_tools.sources.table_file import encoded, is_compressed, open_arrow, open_object, read_parts, read_schema

_BYTES = ("binary", "large_binary", "binary_view")
_TEXTS = ("string", "large_string", "string_view")
_IMAGE_COLUMNS = ("image", "img", "png", "jpg", "bytes")
_PATH_COLUMNS = ("image_path", "path", "file_name", "filename", "file", "name")
_LABEL_FOLDER = {REAL: "nature", FAKE: "ai"}


@dataclass(frozen=True)
class TableContainer:
    path: str  # absolute; of the Arrow file
    name: str  # path within SRC of the file as it was found
    listing: ContainerListing = field(compare=False, repr=False, default_factory=ContainerListing)
    folded: str | None = None  # the file is still to be unfolded from this one

    @property
    def prefix(self) -> str:
        return self.name + ":"

    @property
    def folders(self) -> tuple[str, ...]:
        return tuple(self.name.split("/")[:-1])

    def contents(self) -> ContainerListing:
        return self.listing

    @property
    def sequential(self) -> TableContainer | None:
        return self if self.folded else None

    def reader(self) -> TableReader:
        return TableReader(self.path)

    def digests(self, places: set[int]) -> Iterator[tuple[int, str]]:
        """(place, sha256 of the image) of some rows of a folded table, which is read from end to end for it."""
        assert self.folded is not None
        begin, last = 0, max(places)
        for table in read_parts(self.folded, _IMAGE_COLUMNS):
            images = _images(table)
            for place in places.intersection(range(begin, begin + len(images))):
                yield place, hashlib.sha256(images[place - begin].as_buffer()).hexdigest()
            begin += len(images)
            if begin > last:
                return

    def identity(self, plan_digest: str) -> str:
        """The plan alone will not do: files of the same names and sizes have the same one."""
        assert self.folded is not None
        if is_object_url(self.folded):
            import obstore

            store, name = open_object(self.folded)
            facts = obstore.head(store, name)
            state = [facts["size"], facts.get("e_tag"), str(facts["last_modified"])]
        else:
            seen = os.stat(self.folded)
            state = [seen.st_size, seen.st_mtime_ns]
        return hashlib.sha256(json.dumps([plan_digest, self.folded, *state]).encode()).hexdigest()[:16]

    def unfold(self, target: str) -> TableContainer:
        assert self.folded is not None
        if not os.path.exists(target):
            part = f"{target}.part"
            schema = pa.schema([("image", pa.large_binary())])
            with pa.OSFile(encoded(part), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
                for table in read_parts(self.folded, _IMAGE_COLUMNS):
                    writer.write_table(pa.table({"image": _images(table).cast(pa.large_binary())}, schema=schema))
            with open(part, "rb") as file:
                os.fsync(file.fileno())  # after a power failure a torn one would be taken for a whole one
            os.rename(part, target)
        return TableContainer(target, self.name, self.listing)

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "name": self.name, "listing": ContainerListing(), "folded": self.folded}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)


class TableReader:
    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._chunks: list[pa.Array] | None = None
        self._starts: Any = None

    def read(self, where: Location) -> bytes:
        with self._lock:
            if self._chunks is None:
                try:
                    self._chunks = _images(open_arrow(self._path)).chunks
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


def _images(table: pa.Table) -> pa.ChunkedArray:
    """The column of image bytes. Raises pa.ArrowInvalid when there is none."""
    for name in _IMAGE_COLUMNS:
        if name in table.column_names:
            column = table[name]
            if pa.types.is_struct(column.type):
                names = [column.type.field(i).name for i in range(column.type.num_fields)]
                if "bytes" in names:
                    return pc.struct_field(column, "bytes")
            elif str(column.type) in _BYTES:
                return column
    raise pa.ArrowInvalid(f"it has no column of image bytes (looked for {', '.join(_IMAGE_COLUMNS)})")


def _lengths(images: pa.ChunkedArray) -> list[int | None]:
    """Bytes of each image, None where there is none."""
    lengths: list[int | None] = []
    for chunk in images.chunks:
        known = chunk.cast(pa.large_binary()) if str(chunk.type) == "binary_view" else chunk
        lengths += pc.binary_length(known).to_pylist()
    return lengths


def _paths(table: pa.Table) -> list[str | None]:
    for name in _PATH_COLUMNS:
        if name in table.column_names and _is_text(table[name].type):
            found: list[str | None] = table[name].to_pylist()
            return found
    for name in _IMAGE_COLUMNS:
        if name in table.column_names and pa.types.is_struct(table[name].type):
            kinds = table[name].type
            if "path" in [kinds.field(i).name for i in range(kinds.num_fields)]:
                paths: list[str | None] = pc.struct_field(table[name], "path").to_pylist()
                return paths
    return [None] * len(table)


def _is_text(kind: pa.DataType) -> bool:
    """Text in any of the ways that writers store it: pandas and polars write large strings, others dictionaries."""
    return str(kind.value_type if pa.types.is_dictionary(kind) else kind) in _TEXTS


def _labels(table: pa.Table) -> tuple[list[Any], list[str] | None]:
    """The column `label`, and the words its numbers stand for when the file's metadata says so."""
    if "label" not in table.column_names:
        return [None] * len(table), None
    names = None
    raw = (table.schema.metadata or {}).get(b"huggingface")
    if raw:
        try:
            names = json.loads(raw)["info"]["features"]["label"].get("names")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            names = None
    return table["label"].to_pylist(), names if isinstance(names, list) else None


def open_table(path: str, name: str) -> TableContainer:
    """List a table file. What is wrong with it as a whole is in the listing."""
    listing = ContainerListing()
    folded = False
    try:
        if not is_object_url(path) and not stat.S_ISREG(os.stat(path).st_mode):
            raise OSError("it is not a file")  # opening a pipe would wait for somebody to write to it
        schema = read_schema(path)
        if _may_hold_images(schema):
            folded = path.lower().endswith(".parquet") or is_object_url(path) or is_compressed(path)
            listing.folders = _list(path, listing, folded)
        else:
            listing.problems.append(
                f"{path} is not read: it has no column of image bytes (its columns: {', '.join(schema.names[:20])})"
            )
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:  # the last two: doubled names, text not UTF-8
        listing.incomplete.append(f"{path} cannot be read: {first_line(error)}; download it again")
        folded = False
    return TableContainer(path, name, listing, path if folded else None)


def _may_hold_images(schema: pa.Schema) -> bool:
    """Whether there is any column of bytes; tables of URLs and captions lie beside the images of some data sets."""
    kinds = [inner.type for field in schema for inner in (field.type if pa.types.is_struct(field.type) else [field])]
    return any(str(kind) in _BYTES for kind in kinds)


def _list(path: str, listing: ContainerListing, folded: bool) -> list[FolderListing]:
    if folded:
        table, lengths = _facts(path)
    else:
        table = open_arrow(path)
        lengths = _lengths(_images(table))
    paths = _paths(table)
    labels, words = _labels(table)
    stem = os.path.splitext(os.path.basename(path))[0]
    rows: list[tuple[str, str, str | None]] = []
    votes: dict[Any, Counter[str]] = {}
    for number, (full, label) in enumerate(zip(paths, labels, strict=True)):
        path_of_row = (full or f"{stem}-{number:08d}").replace("\\", "/")  # written on Windows
        folder, _, name = path_of_row.strip("/").rpartition("/")
        told = place_of(folder.split("/") if folder else []).label
        if told is None and words is not None and isinstance(label, int) and 0 <= label < len(words):
            told = LABEL_ALIASES.get(simplify(str(words[label])))
        if told is None and isinstance(label, str):
            told = LABEL_ALIASES.get(simplify(label))
        if told is None:
            told = FAKE if generator_hint(name) else REAL if real_split(name) else None
        if told is not None and isinstance(label, int):
            votes.setdefault(label, Counter())[told] += 1
        rows.append((folder, name, told))
    meaning = {label: next(iter(count)) for label, count in votes.items() if len(count) == 1}
    folders: dict[str, FolderListing] = {}
    for number, (folder, name, told) in enumerate(rows):
        if is_system_file(name):
            listing.system_files += 1
            continue
        label = told or (meaning.get(labels[number]) if isinstance(labels[number], int) else None)
        if label is not None and place_of(folder.split("/") if folder else []).label is None:
            where = "/".join(part for part in (folder, _LABEL_FOLDER[label]) if part)
        else:
            where = folder
        into = folders.setdefault(where, FolderListing(where))
        into.names.append(name)
        into.sizes.append(lengths[number] or 0)
        into.offsets.append(number)
        if lengths[number] is None:
            into.unreadable[name] = "the row has no image bytes"
    for into in folders.values():
        into.stored, into.methods, into.crcs = ([0] * len(into.names) for _ in range(3))
    return [folders[where] for where in sorted(folders)]


def _facts(path: str) -> tuple[pa.Table, list[int | None]]:
    """All small columns, and the lengths of the images; the images themselves pass through a part at a time."""
    lengths: list[int | None] = []
    tables: list[pa.Table] = []
    for table in read_parts(path, (*_IMAGE_COLUMNS, *_PATH_COLUMNS, "label")):
        lengths += _lengths(_images(table))
        paths = pa.array(_paths(table), pa.string())
        small = {"image_path": paths}
        if "label" in table.column_names:
            small["label"] = table["label"]
        tables.append(pa.table(small).replace_schema_metadata(table.schema.metadata))
    if not tables:
        raise pa.ArrowInvalid("it has no rows")
    return pa.concat_tables(tables), lengths
