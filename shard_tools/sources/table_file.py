"""Arrow and Parquet files, on a disk or in an object store: their columns, read part by part."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shard_tools.addresses import first_line, is_object_url, open_store
from shard_tools.errors import SourceError

OBJECT_BYTES = 8 << 20  # read from an object store at a time
BATCH_BYTES = 32 << 20  # of a row group, read at a time


def open_arrow(path: str) -> pa.Table:
    """An Arrow file or stream, mapped and not read, but for its offsets: damaged ones would end the process.

    Raises pa.ArrowInvalid.
    """
    table: pa.Table = _batches(pa.memory_map(encoded(path))).read_all()
    table.validate(full=True)
    return table


def encoded(path: str) -> bytes:
    """A path as the operating system has it, also where it is not UTF-8; pyarrow would stumble."""
    return os.fsencode(path)


def read_schema(path: str) -> pa.Schema:
    with _opened(path) as source:
        if path.lower().endswith(".parquet"):
            return pq.ParquetFile(source).schema_arrow
        return _batches(source).schema


def is_compressed(path: str) -> bool:
    """Whether the batches of an Arrow file are compressed: then they are not where the file is mapped."""
    with pa.memory_map(encoded(path)) as source:
        whole = source.read_buffer(source.size())
        source.seek(0)
        reader = _batches(source)
        files = isinstance(reader, pa.ipc.RecordBatchFileReader)
        if files and not reader.num_record_batches:
            return False
        batch = reader.get_batch(0) if files else next(iter(reader), None)
        buffers = [buffer for column in batch or () for buffer in column.buffers() if buffer and buffer.size]
        end = whole.address + whole.size
        return any(not whole.address <= buffer.address < end for buffer in buffers)


def _batches(source: Any) -> Any:
    """A reader of Arrow's file format, or of its stream format."""
    try:
        return pa.ipc.open_file(source)
    except pa.ArrowInvalid:
        source.seek(0)
        return pa.ipc.open_stream(source)


def read_parts(path: str, names: Sequence[str]) -> Iterator[pa.Table]:
    """Those of the columns `names` that there are: parts of row groups, or record batches, one after the other."""
    with _opened(path) as source:
        if path.lower().endswith(".parquet"):
            with pq.ParquetFile(source, buffer_size=1 << 20, pre_buffer=False) as file:
                schema = file.schema_arrow
                wanted = [name for name in schema.names if name in names]
                for number in range(file.num_row_groups):
                    group = file.metadata.row_group(number)
                    rows = max(1, BATCH_BYTES * group.num_rows // max(1, group.total_byte_size))
                    for batch in file.iter_batches(rows, row_groups=[number], columns=wanted, use_threads=False):
                        yield pa.Table.from_batches([batch]).replace_schema_metadata(schema.metadata)
            return
        reader = _batches(source)
        files = isinstance(reader, pa.ipc.RecordBatchFileReader)
        batches = map(reader.get_batch, range(reader.num_record_batches)) if files else iter(reader)
        for batch in batches:
            batch.validate(full=True)
            yield pa.Table.from_batches([batch]).select([name for name in batch.schema.names if name in names])


def _opened(path: str) -> Any:
    """A local file or an object, to be read at any place."""
    if not is_object_url(path):
        return pa.OSFile(encoded(path))
    return pa.PythonFile(ObjectFile(path), mode="r")


def open_object(path: str) -> tuple[Any, str]:
    """(store, name in it) of an address."""
    scheme, _, rest = path.partition("://")
    bucket, _, name = rest.partition("/")
    return open_store(f"{scheme}://{bucket}", SourceError), name


def state_of(path: str) -> list[Any]:
    """What tells a file or an object from another state of it."""
    if not is_object_url(path):
        seen = os.stat(path)
        return [seen.st_size, seen.st_mtime_ns]
    import obstore

    store, name = open_object(path)
    facts = obstore.head(store, name)
    return [facts["size"], facts.get("e_tag"), str(facts["last_modified"])]


class ObjectFile(io.RawIOBase):
    """obstore's reader as pyarrow and tarfile want a file: its bytes are bytes. Raises OSError."""

    def __init__(self, path: str) -> None:
        import obstore

        store, name = open_object(path)
        try:
            self._reader = obstore.open_reader(store, name, buffer_size=OBJECT_BYTES)
        except Exception as error:
            raise OSError(first_line(error)) from error

    def read(self, size: int = -1) -> bytes:
        left = self._reader.size - self._reader.tell()
        wanted = left if size < 0 else min(size, left)
        return bytes(self._reader.read(wanted)) if wanted else b""

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self._reader.seek(offset, whence))

    def tell(self) -> int:
        return int(self._reader.tell())

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
