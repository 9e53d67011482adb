"""The index of a finished dataset that is written again.

It is read a row group at a time, which is faster than all at once and takes little memory at millions of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from genimage_stream.dataset.checks import checked, need_distinct
from genimage_stream.dataset.info import WrittenFields
from genimage_stream.schema import DATASET_FILE, INDEX_FILE, QUARANTINE_FILE, index_schema, kept_column
from shard_tools.errors import TargetError
from shard_tools.finished import read_quarantine
from shard_tools.target.local_storage import Storage


class HeldIndex:
    """Raises TargetError for an index that lacks columns or rows, or, where they are read, has damaged ones."""

    def __init__(self, storage: Storage, fields: WrittenFields) -> None:
        import pyarrow.parquet as pq

        self._shown = storage.shown(INDEX_FILE)
        raw = storage.read(INDEX_FILE)
        with self._explained():
            if raw is None:
                raise FileNotFoundError("it is missing")
            self._file = pq.ParquetFile(pa.BufferReader(raw), page_checksum_verification=True)
            self.schema = self._file.schema_arrow
            names = self.schema.names
            need_distinct(names, self._shown)
        metadata = self._file.metadata
        self._ends = np.cumsum([metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)], dtype=np.int64)
        self._at_hand: tuple[int, pa.Table] | None = None  # the row group that was read last
        self._crop_ready = bool(fields["options"].get("crop_ready"))
        if missing := set(index_schema(crop_ready=self._crop_ready).names) - set(self.schema.names):
            raise TargetError(f"{self._shown} lacks the column {min(missing)}: restore it from a copy, or pack anew")
        prefix = kept_column("")
        for name in names:
            if name.startswith(prefix) and kept_column(name.removeprefix(prefix)) != name:
                raise TargetError(
                    f"{self._shown} has a column {name!r}, whose name pack does not give: rename it there, or restore "
                    "the index from a copy"
                )
        if metadata.num_rows != fields["counts"]["samples"]:
            raise TargetError(
                f"{self._shown} has {metadata.num_rows:,} rows and {DATASET_FILE} says "
                f"{fields['counts']['samples']:,}: restore both from one copy"
            )

    def rows(self, at: int, count: int) -> pa.Table:
        """`count` rows from a place on, in the format's types."""
        parts = []
        end = at + count
        while at < end:
            number = int(np.searchsorted(self._ends, at, "right"))
            table = self._group(number)
            start = int(self._ends[number]) - len(table)
            parts.append(table.slice(at - start, end - at))
            at += len(parts[-1])
        return pa.concat_tables(parts) if parts else self._types.empty_table()

    def column(self, name: str) -> pa.ChunkedArray:
        """A whole column of text."""
        return self.table([name])[name].cast(pa.string())

    def table(self, names: Sequence[str]) -> pa.Table:
        """Whole columns."""
        with self._explained():
            table = self._file.read(list(names), use_threads=False)
        return self._checked(table)

    @cached_property
    def _types(self) -> pa.Schema:
        known = {field.name: field for field in index_schema(crop_ready=self._crop_ready)}
        return pa.schema([known.get(field.name, field) for field in self.schema])

    def _group(self, number: int) -> pa.Table:
        if self._at_hand is None or self._at_hand[0] != number:
            self._at_hand = None  # whose memory is free for this one
            with self._explained():
                table = self._file.read_row_group(number, use_threads=False)
            self._at_hand = number, self._checked(table)
        return self._at_hand[1]

    def _checked(self, table: pa.Table) -> pa.Table:
        try:
            table = checked(table, self._shown)
        except ValueError as error:
            raise TargetError(str(error)) from error
        for name in ("label", "shard", "sha256"):
            if name in table.column_names and table[name].null_count:
                raise TargetError(f"{self._shown}: the column {name} has rows without a value: restore it from a copy")
        return table

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, pa.ArrowException) as error:
            raise _unreadable(self._shown, error) from error


def read_bad(storage: Storage) -> list[dict[str, Any]]:
    """The quarantine list of a dataset. Raises TargetError where it is missing or damaged."""
    raw = storage.read(QUARANTINE_FILE)
    try:
        if raw is None:
            raise FileNotFoundError("it is missing")
        rows: list[dict[str, Any]] = read_quarantine(raw).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(storage.shown(QUARANTINE_FILE), error) from error
    return rows


def _unreadable(shown: str, error: Exception) -> TargetError:
    return TargetError(f"{shown} cannot be read ({error}): restore it from a copy, or pack anew")
