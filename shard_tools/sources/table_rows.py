"""What the rows of a table of images are: their names, and what their columns say of generator, split and label.

The path of a row's image says most. A label is believed where it is a word, or the number of a word that the file's own
metadata names, or what `--labels` says; a bare number means whatever it means for those rows of the file whose path
tells, because mirrors number real and fake both ways. What remains is asked for, never guessed.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from genimage_stream.vocabulary import FAKE, REAL, REAL_POOL
from shard_tools.errors import ToolError
from shard_tools.layout.columns import USUAL, Columns, Contradictions, Meaning, pick, split_of, unused, whole
from shard_tools.layout.place import place_of
from shard_tools.names import generator_hint, is_photograph, is_system_file
from shard_tools.sources.base import ContainerListing, FolderListing, Said

BYTES = ("binary", "large_binary", "binary_view")
_TEXTS = ("string", "large_string", "string_view")
_LABEL_FOLDER = {REAL: "nature", FAKE: "ai"}


@dataclass(frozen=True)
class Roles:
    """The names of a table's columns, by what they are for."""

    image: str
    path: str | None = None
    generator: str | None = None
    split: str | None = None
    label: str | None = None
    keep: tuple[tuple[str, str], ...] = ()  # (name as the user wrote it, column)

    def names(self) -> tuple[str, ...]:
        small = (self.path, self.generator, self.split, self.label, *(name for _, name in self.keep))
        return tuple(dict.fromkeys(name for name in small if name))


def is_text(kind: pa.DataType) -> bool:
    """Text in any of the ways that writers store it: pandas and polars write large strings, others dictionaries."""
    return str(kind.value_type if pa.types.is_dictionary(kind) else kind) in _TEXTS


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(kind.field(i).name == "bytes" and str(kind.field(i).type) in BYTES for i in range(kind.num_fields))
    return str(kind) in BYTES


def find_roles(schema: pa.Schema, columns: Columns, where: str) -> Roles:
    """Raises pa.ArrowInvalid when there is no column of image bytes, ToolError when `--columns` names one that is not
    there."""
    of_bytes = [field.name for field in schema if _holds_bytes(field.type)]
    image = pick("image", of_bytes, columns, where)
    if image is None:
        features = _features(schema)
        declared = [name for name in of_bytes if (features.get(name) or {}).get("_type") == "Image"]
        if len(declared) > 1:
            raise ToolError(
                f"{where}: it has several columns of images ({', '.join(declared[:20])}), and nothing says which is "
                f"wanted: name it by --columns image={declared[0]}"
            )
        image = declared[0] if declared else None
    if image is None:
        raise pa.ArrowInvalid(
            f"it has no column of image bytes (looked for {', '.join(USUAL['image'][:6])}, ...; its columns: "
            f"{', '.join(schema.names[:20])}); name it by --columns image=NAME"
        )
    others = [field.name for field in schema if field.name != image]
    texts = [name for name in others if is_text(schema.field(name).type)]
    picked = {role: pick(role, others, columns, where) for role in ("generator", "split", "label")}
    return Roles(image, pick("path", texts, columns, where), **picked, keep=columns.kept_of(others))


def other_images(schema: pa.Schema, roles: Roles, columns: Columns) -> list[str]:
    """A sentence on columns of images beside the one that is read, where the user did not choose."""
    others = [field.name for field in schema if field.name != roles.image and _holds_bytes(field.type)]
    if not others or columns.of("image"):
        return []
    return [
        f"not used: the images of the columns {', '.join(others[:20])}; --columns image={others[0]} takes these "
        f"instead of those of {roles.image}"
    ]


def _features(schema: pa.Schema) -> dict[str, Any]:
    """What Hugging Face's metadata say of the columns."""
    raw = (schema.metadata or {}).get(b"huggingface")
    if not raw:
        return {}
    try:
        found = json.loads(raw)["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return {name: kind for name, kind in found.items() if isinstance(kind, dict)} if isinstance(found, dict) else {}


def images_of(table: pa.Table, name: str) -> pa.ChunkedArray:
    """The bytes of the images in the column `name`."""
    images = table[name]
    return pc.struct_field(images, "bytes") if pa.types.is_struct(images.type) else images


def lengths_of(images: pa.ChunkedArray) -> list[int | None]:
    """Bytes of each image, None where there is none."""
    lengths: list[int | None] = []
    for chunk in images.chunks:
        known = chunk.cast(pa.large_binary()) if str(chunk.type) == "binary_view" else chunk
        lengths += pc.binary_length(known).to_pylist()
    return lengths


def paths_of(table: pa.Table, roles: Roles) -> list[str | None]:
    if roles.path:
        found: list[str | None] = table[roles.path].to_pylist()
        return found
    kind = table[roles.image].type
    if pa.types.is_struct(kind) and "path" in [kind.field(i).name for i in range(kind.num_fields)]:
        paths: list[str | None] = pc.struct_field(table[roles.image], "path").to_pylist()
        return paths
    return [None] * len(table)


@dataclass
class Rows:
    """The rows of a table, or the images of a tar with what lies beside them, but for the images themselves."""

    values: dict[str, list[Any]]  # of the columns that say something
    lengths: Sequence[int | None]  # bytes of the images
    paths: Sequence[str | None]  # of the images
    names: Sequence[str]  # of all columns
    class_names: dict[str, Sequence[str]] = field(default_factory=dict)  # column -> the words its numbers stand for
    offsets: Sequence[int] | None = None  # of the images; None: their rows' numbers


def rows_of(tables: Iterable[pa.Table], roles: Roles, schema: pa.Schema) -> Rows:
    """The rows of parts of a table: the images pass through a part at a time."""
    lengths: list[int | None] = []
    paths: list[str | None] = []
    values: dict[str, list[Any]] = {name: [] for name in roles.names()}
    for table in tables:
        lengths += lengths_of(images_of(table, roles.image))
        paths += paths_of(table, roles)
        for name in values:
            values[name] += table[name].to_pylist()
    return Rows(values, lengths, paths, schema.names, _class_names(schema))


def list_rows(
    path: str, given: Rows, roles: Roles, columns: Columns, listing: ContainerListing, above: Sequence[str] = ()
) -> list[FolderListing]:
    """The rows of the table or tar at `path`, below the folders `above`, as files of folders."""
    paths, lengths = given.paths, given.lengths
    meaning = Meaning(columns, roles.label, roles.generator, given.class_names)
    note = unused(given.names, (roles.image, *roles.names()), columns)
    labels = [whole(value) for value in _values(given, roles.label)]
    generators = [meaning.generator_of(value) for value in _values(given, roles.generator)]
    splits = [split_of(value) for value in _values(given, roles.split)]
    pooled = REAL_POOL in generators  # then the others are those that made fakes
    stem = os.path.splitext(os.path.basename(path))[0]
    place_of_folder = cache(lambda folder: place_of(folder.split("/") if folder else []))
    generator_of_folder = cache(lambda folder: place_of([*above, *filter(None, folder.split("/"))]).generator)
    beside_fakes = cache(lambda: any(generator_hint((full or "").rpartition("/")[2]) for full in paths))
    contradictions = Contradictions(meaning, path)
    rows: list[tuple[str, str, str | None]] = []
    votes: dict[Any, Counter[str]] = {}
    for number, (full, value) in enumerate(zip(paths, labels, strict=True)):
        folder, _, name = _inside(full or "").rpartition("/")
        name = name or f"{stem}-{number:08d}"
        by_path, by_column = place_of_folder(folder), meaning.label_of(value)
        # The name of a source of photographs says less than a column: their copies with a part made anew go by it, too.
        of_path = None if by_path.pool and by_column else by_path.label
        told = contradictions.settle(full or "", of_path, by_column)
        if told is None and generators[number] and (value is None or generators[number] == REAL_POOL):
            told = REAL if generators[number] == REAL_POOL else FAKE if pooled else None
        if told is None and generator_hint(name):
            told = FAKE
        elif told is None and is_photograph(name, generators[number] or generator_of_folder(folder), beside_fakes()):
            told = REAL
        if told is not None and isinstance(value, int):
            votes.setdefault(value, Counter())[told] += 1
        rows.append((folder, name, told))
    listing.notes += contradictions.end()
    meanings = {value: next(iter(count)) for value, count in votes.items() if len(count) == 1}
    unclear = [
        value
        for value, (_, _, told) in zip(labels, rows, strict=True)
        if told is None and isinstance(value, (int, str)) and value not in meanings
    ]
    question = meaning.question(unclear) if unclear else ""
    folders: dict[tuple[str, Said, str], FolderListing] = {}
    for number, (folder, name, told) in enumerate(rows):
        if is_system_file(name):
            listing.system_files += 1
            continue
        value = labels[number]
        label = told or (meanings.get(value) if isinstance(value, int) else None)
        where, by_path = folder, place_of_folder(folder)
        if label is not None and (by_path.label is None or (by_path.pool and label != by_path.label)):
            where = "/".join(part for part in (folder, _LABEL_FOLDER[label]) if part)
        said = Said(
            generators[number],
            splits[number],
            label if by_path.label not in (None, label) and not by_path.pool else None,
            unnamed=bool(roles.generator) and not generators[number],
        )
        asked = question if label is None and value is not None else ""
        into = folders.setdefault(
            (where, said, asked), FolderListing(where, of_images=True, said=said, undecided=asked)
        )
        into.names.append(name)
        into.sizes.append(lengths[number] or 0)
        into.offsets.append(number if given.offsets is None else given.offsets[number])
        for wanted, column in roles.keep:
            into.kept.setdefault(wanted, []).append(given.values[column][number])
        if lengths[number] is None:
            into.unreadable[name] = "the row has no image bytes"
    for into in folders.values():
        into.stored, into.methods, into.crcs = ([0] * len(into.names) for _ in range(3))
        into.hint = "" if roles.label else f"--columns label=NAME (its columns: {', '.join(given.names[:20])})"
    listing.notes += [note] if note else []
    return [folders[key] for key in sorted(folders, key=lambda key: (key[0], str(key[1]), key[2]))]


def _inside(path: str) -> str:
    """A path as one below the table: what leads up, or to a root, leads nowhere here."""
    path = path.replace("\\", "/")  # written on Windows
    if path[:1] in "./" or "//" in path or "/." in path:
        return "/".join(part for part in path.split("/") if part not in ("", ".", ".."))
    return path.strip("/")


def _values(rows: Rows, name: str | None) -> list[Any]:
    return [None] * len(rows.paths) if name is None else rows.values[name]


def _class_names(schema: pa.Schema) -> dict[str, Sequence[str]]:
    """Column -> the words that its numbers stand for."""
    found = {name: kind.get("names") for name, kind in _features(schema).items()}
    return {name: words for name, words in found.items() if isinstance(words, list)}
