"""What lies beside plain files: tables of them (`metadata.csv`, `.jsonl`), and files of their stems (`.json`, `.txt`).

They are read only where `--columns` or `--keep` asks for them.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Iterator
from typing import Any

from shard_tools.errors import ToolError
from shard_tools.layout.columns import Columns, Contradictions, Meaning, pick, read_text, split_of, unused
from shard_tools.layout.place import place_of
from shard_tools.names import IMAGE_SUFFIXES
from shard_tools.sources.base import ContainerListing, FolderListing, Location, Reader, Said

_TABLES = (".csv", ".tsv", ".jsonl")
_LARGEST = 1 << 20  # bytes of a sidecar of one image


def add_sidecars(listing: ContainerListing, reader: Reader, columns: Columns) -> None:
    """Divide the folders of a listing of plain files by what is said of their images. Raises ToolError when `--columns`
    names a column that is nowhere."""
    fields: dict[str, dict[str, Any]] = {}
    differing: dict[str, str] = {}  # column -> an image of which two rows say something else there
    known = {_path(folder, name) for folder in listing.folders for name in folder.names}
    for folder in listing.folders:
        for path, row in _table_rows(folder, reader, columns, known):
            before = fields.get(path, {})
            differing |= {name: path for name in before if name in row and before[name] != row[name]}
            fields[path] = {**before, **row}
    for folder in listing.folders:
        for path, row in _of_images(folder, reader):
            fields[path] = {**fields.get(path, {}), **row}
    if not fields:
        return
    names = list(dict.fromkeys(name for row in fields.values() for name in row))
    # --keep by itself only adds columns to the index.
    split, generator, label = (
        pick(role, names, columns, "what lies beside the images") if columns.given else None
        for role in ("split", "generator", "label")
    )
    for name in (split, generator, label):
        if name in differing:
            raise ToolError(
                f"{differing[name]}: the tables beside the images have several rows of it, with other values in the "
                f"column {name!r}: leave one of them, or name another column by --columns"
            )
    meaning = Meaning(columns, label, generator)
    keep = columns.kept_of(names)
    note = unused(names, (split, meaning.label, generator, pick("path", names, columns, "")), columns)
    listing.notes += [note] if note else []
    contradictions = Contradictions(meaning, "SRC")
    values = [row.get(meaning.label) for row in fields.values()] if meaning.label else []
    unclear = [value for value in values if value not in (None, "") and meaning.label_of(value) is None]
    asked = meaning.question(unclear) if unclear else ""
    listing.folders = [
        part
        for folder in listing.folders
        for part in _divided(folder, fields, meaning, split, keep, asked, contradictions)
    ]
    listing.notes += contradictions.end()


def _path(folder: FolderListing, name: str) -> str:
    return f"{folder.path}/{name}" if folder.path else name


def _read(folder: FolderListing, name: str, size: int, reader: Reader) -> str:
    return reader.read(Location(_path(folder, name), size)).decode("utf-8-sig", "replace")


def _table_rows(
    folder: FolderListing, reader: Reader, columns: Columns, known: Collection[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(path of an image, its columns) of all tables in a folder: paths count from there, or, where no file is there,
    from the source."""
    for name, size in zip(folder.names, folder.sizes, strict=True):
        if not name.lower().endswith(_TABLES) or name in folder.unreadable:
            continue
        text = _read(folder, name, size, reader)
        if name.lower().endswith(".jsonl"):
            rows = [row for line in text.split("\n") if isinstance(row := _object(line), dict)]
        else:
            delimiter = "\t" if name.lower().endswith(".tsv") else ","
            rows = _cells(text, delimiter, _path(folder, name))
        names = list(dict.fromkeys(str(column) for row in rows[:1] for column in row))
        given = columns.of("path")
        path = given if given in names else pick("path", names, Columns(), name)
        for row in rows if path else []:
            where = str(row.get(path) or "").replace("\\", "/").removeprefix("./").strip("/")
            here = _path(folder, where)
            yield here if here in known else where, row


def _cells(text: str, delimiter: str, shown: str) -> list[dict[str, Any]]:
    """Rows of a table as text; cells beyond the columns that its first line names belong to none."""
    try:
        rows = list(csv.DictReader(io.StringIO(text), delimiter=delimiter))
    except csv.Error as error:  # e.g. a cell of more than 128 kB
        raise ToolError(f"{shown} is no table ({error}): look for a quotation mark that is not closed") from None
    for row in rows:
        row.pop(None, None)
    return rows


def _object(line: str) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _of_images(folder: FolderListing, reader: Reader) -> Iterator[tuple[str, dict[str, Any]]]:
    size_of = dict(zip(folder.names, folder.sizes, strict=True))
    for name in folder.names:
        stem, dot, suffix = name.rpartition(".")
        if not dot or f".{suffix.lower()}" not in IMAGE_SUFFIXES:
            continue
        row: dict[str, object] = {}
        for kind in ("cls", "txt", "json"):
            beside = f"{stem}.{kind}"
            if 0 < size_of.get(beside, 0) <= _LARGEST and beside not in folder.unreadable:
                read_text(kind, _read(folder, beside, size_of[beside], reader), row)
        if row:
            yield _path(folder, name), row


def _divided(
    folder: FolderListing,
    fields: dict[str, dict[str, Any]],
    meaning: Meaning,
    split: str | None,
    keep: tuple[tuple[str, str], ...],
    question: str,
    contradictions: Contradictions,
) -> list[FolderListing]:
    parts: dict[tuple[Said, str], FolderListing] = {}
    place = place_of(folder.path.split("/") if folder.path else [])
    by_path = None if place.pool else place.label
    for name, size in zip(folder.names, folder.sizes, strict=True):
        row = fields.get(_path(folder, name), {})
        value = row.get(meaning.label) if meaning.label else None
        label = meaning.label_of(value)
        if label is not None:
            label = contradictions.settle(_path(folder, name), by_path, label)
        generator = meaning.generator_of(row.get(meaning.generator)) if meaning.generator else None
        said = Said(generator, split_of(row.get(split)) if split else None, label)
        asked = question if label is None and value not in (None, "") else ""
        part = parts.setdefault((said, asked), FolderListing(folder.path, said=said, undecided=asked))
        part.names.append(name)
        part.sizes.append(size)
        if name in folder.unreadable:
            part.unreadable[name] = folder.unreadable[name]
        for wanted, column in keep:
            part.kept.setdefault(wanted, []).append(row.get(column))
    return list(parts.values())
