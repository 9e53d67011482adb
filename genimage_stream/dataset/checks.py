"""An index is input like any other: its columns are those of the format, and their values are possible ones.

Other programs write indexes with other types of the same meaning: pandas, Polars and DuckDB write plain strings for
words, and pandas makes floats of whole numbers with nulls among them. These become the types of the format here; what
means something else, or cannot be, is an error that names the column.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from genimage_stream import schema
from genimage_stream.remedies import printable
from genimage_stream.storage.within import check_shard_paths

if TYPE_CHECKING:
    import pyarrow as pa

LARGEST = 1 << 50  # bytes of a shard; far above any, and far below what sums of offsets and sizes overflow at
BOUNDS = {
    "offset": (0, LARGEST),
    "size": (0, LARGEST),
    "width": (1, 1 << 30),
    "height": (1, 1 << 30),
    "class_index": (0, 999),
    "jpeg_quality": (0, 100),
}
_MAY_BE_NULL = {
    "class_index",
    "synset",
    "jpeg_quality",
    "chroma",
    "source",
    "segments",
    "stored_sha256",
    "pixel_sha256",
}
# Of these a null has an error of its own, at the place that needs the column.
_CHECKED_ELSEWHERE = {"label", "shard", "sha256"}
_WORDS = ("generator", "split", "label", "synset", "format", "mode")
_LONGEST = 200  # characters of a word


def checked(table: pa.Table, name: str) -> pa.Table:
    """Columns of the index called `name`, in the format's types. Raises ValueError for what is no index's."""
    wanted = {field.name: field.type for field in schema.index_schema(crop_ready=True)}
    need_distinct(table.column_names, name)
    for place, field in enumerate(table.schema):
        _need_sound(table.column(place), field.name, name)
        kind = wanted.get(field.name)
        if kind is None:
            continue
        if field.type != kind:
            table = table.set_column(place, field.name, _as(table.column(place), kind, field.name, name))
        _check_values(table.column(place), field.name, name)
    return table


def _need_sound(column: pa.ChunkedArray, column_name: str, name: str) -> None:
    """Arrow reads text without looking whether it is text."""
    import pyarrow as pa

    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        raise ValueError(
            f"{name}: the column {column_name} is damaged ({error}): restore the index from a copy, or pack again"
        ) from error


def need_distinct(names: Sequence[str], name: str) -> None:
    """Raises ValueError when two columns of a table called `name` have one name: which one is meant is unknown."""
    if doubled := [one for one, count in Counter(names).items() if count > 1]:
        raise ValueError(
            f"{name} has several columns called {printable(', '.join(doubled))}: restore it from a copy, or pack again"
        )


def need_words(words: Sequence[str | None], column_name: str, name: str) -> None:
    """Raises ValueError unless each is a word, of a column of the index called `name`, that can be shown."""
    for word in words:
        if word is not None and not (word.isprintable() and 0 < len(word) <= _LONGEST):
            raise ValueError(
                f"{name}: the column {column_name} holds {word[:_LONGEST]!r}, which is not a word that can be shown: "
                "restore the index from a copy, or pack again"
            )


def _as(column: pa.ChunkedArray, kind: pa.DataType, column_name: str, name: str) -> pa.ChunkedArray:
    import pyarrow as pa

    try:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if _family(column.type) != _family(kind) and not pa.types.is_null(column.type):
            raise pa.ArrowInvalid("it means something else")
        if pa.types.is_dictionary(kind):
            encoded = column.cast(kind.value_type).dictionary_encode()
            return encoded if isinstance(encoded, pa.ChunkedArray) else pa.chunked_array([encoded])
        return column.cast(kind)
    except pa.ArrowException as error:
        raise ValueError(
            f"{name}: the column {column_name} has the type {column.type}, not {kind} ({str(error).splitlines()[0]}): "
            "restore the index from a copy, or pack again"
        ) from error


def _family(kind: pa.DataType) -> str:
    """What a type means: text, numbers (floats, too, where they are whole), or itself."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if str(kind) in ("string", "large_string", "string_view"):
        return "text"
    return "number" if pa.types.is_integer(kind) or pa.types.is_floating(kind) else str(kind).split("<")[0][-4:]


def _check_values(column: pa.ChunkedArray, column_name: str, name: str) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    def refuse(what: str) -> ValueError:
        return ValueError(f"{name}: the column {column_name} {what}: restore the index from a copy, or pack again")

    if column.null_count and column_name not in _MAY_BE_NULL | _CHECKED_ELSEWHERE:
        raise refuse(f"has {column.null_count:,} rows without a value")
    if column_name in BOUNDS:
        low, high = BOUNDS[column_name]
        found: dict[str, Any] = pc.min_max(column).as_py()
        if found["min"] is not None and not low <= found["min"] <= found["max"] <= high:
            odd = found["min"] if found["min"] < low else found["max"]
            raise refuse(f"holds {odd}, and the possible values are {low} to {high}")
    if column_name in _WORDS and pa.types.is_dictionary(column.type):
        need_words(column.unique().to_pylist(), column_name, name)
    if column_name == "shard":
        check_shard_paths(column.unique().to_pylist(), name)
