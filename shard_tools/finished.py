"""Opens a finished dataset for the tools that read one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from genimage_stream.remedies import sentence
from shard_tools.errors import TargetError

if TYPE_CHECKING:
    import pyarrow as pa

    from genimage_stream.dataset.dataset import Dataset
    from genimage_stream.dataset.info import DatasetInfo
    from genimage_stream.storage.store import Store


def open_finished(destination: str) -> Dataset:
    """The dataset, whose dataset.json is complete. Raises TargetError when it is missing, unfinished or damaged."""
    from genimage_stream.dataset.opening import open_dataset

    with explained():
        dataset = open_dataset(destination)
        dataset.access.info.check_complete()
        return dataset


def finished_info(destination: str) -> tuple[Store, DatasetInfo]:
    """The store and the complete dataset.json of a dataset whose index may be damaged. Raises TargetError."""
    from genimage_stream.dataset.opening import read_info
    from genimage_stream.storage.store_at import open_store

    with explained():
        store = open_store(destination)
        return store, read_info(store).check_complete()


def read_index(store: Store) -> pa.Table:
    """The whole index. Raises TargetError when it is missing or damaged."""
    from genimage_stream.dataset.opening import open_index

    with explained():
        columns = open_index(store)
        return columns.table(columns.names)


def read_parquet(raw: bytes | bytearray) -> pa.Table:
    """A whole Parquet file with checksums. Raises ArrowInvalid for other bytes, doubled columns, and text that is none.

    Not `pyarrow.parquet.read_table`: its threads let go of Python's bytes some time after the table is there, and an
    interpreter that ends at that moment aborts.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from genimage_stream.dataset.checks import need_distinct

    try:
        with pq.ParquetFile(pa.BufferReader(raw), page_checksum_verification=True) as file:
            table = file.read(use_threads=False)
        need_distinct(table.column_names, "it")
        table.validate(full=True)
    except pa.ArrowInvalid:
        raise
    except (pa.ArrowException, ValueError, OSError) as error:  # e.g. a name that is no text
        raise pa.ArrowInvalid(str(error)) from error
    return table


def read_quarantine(raw: bytes | bytearray) -> pa.Table:
    """The quarantine list, in the columns and types of the format. Raises ArrowInvalid for what is none."""
    import pyarrow as pa

    from genimage_stream.schema import quarantine_schema

    table = read_parquet(raw)
    wanted = quarantine_schema()
    if missing := [name for name in wanted.names if name not in table.column_names]:
        raise pa.ArrowInvalid(f"it has no column {', '.join(missing)}")
    for field in wanted:
        column = table[field.name]
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if str(kind) not in ("string", "large_string", "string_view", "null"):
            raise pa.ArrowInvalid(f"its column {field.name} is of the type {kind}, not text")
        if column.null_count and field.name in ("source", "reason"):
            raise pa.ArrowInvalid(f"its column {field.name} has rows without a value")
    plain = [
        table[name].cast(table[name].type.value_type) if pa.types.is_dictionary(table[name].type) else table[name]
        for name in wanted.names
    ]
    return pa.table([column.cast(pa.string()) for column in plain], wanted)


@contextmanager
def explained() -> Iterator[None]:
    """Turns errors of opening and reading into TargetErrors."""
    try:
        yield
    except (OSError, ValueError, ImportError) as error:
        raise TargetError(sentence(error)) from error
