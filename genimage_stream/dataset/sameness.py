"""Whether samples are still those that were selected: after growth, in another process, in a state.

A sample is known by its key and its bytes (sha256). Growth adds samples and moves none within its shard, so a selection
stays what it was, only its rows become others. A dataset that is packed anew, or lost a sample, is another one.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from genimage_stream.dataset.numbers import from_numpy, to_numpy
from genimage_stream.storage.versions import ChangedError

if TYPE_CHECKING:
    import pyarrow as pa

    from genimage_stream.dataset.columns import IndexColumns

Rows = npt.NDArray[np.int64]

_PLACE = ("sha256", "shard", "offset", "size")  # what growth leaves as it is


def selection_digest(columns: IndexColumns, chosen: Rows | None) -> str:
    """32 hexadecimal digits made of the samples' keys and the first 64 bits of their sha256, in order."""

    keys, hashes = columns.all_keys(), columns.hashes()
    if chosen is not None:
        keys, hashes = keys.take(from_numpy(chosen)), hashes[chosen]
    _, ends, text = keys.buffers()
    ends = np.frombuffer(ends, np.int64, len(keys) + 1, 8 * keys.offset) if len(keys) else np.zeros(1, np.int64)
    state = blake2b(digest_size=16)
    state.update(np.diff(ends).astype("<u4").data)
    if ends[-1] > ends[0]:
        state.update(memoryview(text)[ends[0] : ends[-1]])
    state.update(hashes.astype("<u8").data)
    return state.hexdigest()


class Watch:
    """Notices that a dataset was packed anew while its samples are read."""

    def __init__(self, columns: IndexColumns, chosen: Rows | None) -> None:
        self._columns = columns
        self._chosen = chosen
        self._agreed = columns.version

    def look(self) -> None:
        """Raises ChangedError unless the selected samples are where they were. Costs one look at the index's file while
        that has not changed."""
        columns = self._columns
        if columns.version_now() == self._agreed:
            return
        try:
            fresh = columns.now()
            _compare(columns, self._chosen, fresh)
        except (OSError, ValueError) as error:
            if isinstance(error, ChangedError):
                raise
            raise ChangedError(
                f"{columns.name} changed after it was opened, and cannot be read now ({error}): open the "
                "dataset again when it is complete"
            ) from error
        self._agreed = fresh.version


def _compare(columns: IndexColumns, chosen: Rows | None, fresh: IndexColumns) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    names = ["key", *_PLACE]
    before = columns.table(names)
    if chosen is not None:
        before = before.take(from_numpy(chosen))
    after = fresh.table(names)
    places = pc.index_in(before["key"].cast(pa.string()), value_set=after["key"].cast(pa.string()))
    same = pc.is_valid(places)
    for name in _PLACE:
        was, now = (table[name].cast(pa.string()) for table in (before, after))
        same = pc.and_(same, pc.fill_null(pc.equal(was, now.take(places)), False))
    different = np.flatnonzero(~np.asarray(same, bool))
    if len(different):
        raise ChangedError(
            f"{columns.name} changed after it was opened: {len(different)} of {len(before)} samples, "
            f"e.g. {before['key'][int(different[0])].as_py()!r}, are gone or in another place. The dataset changed, so "
            "open it again"
        )


@dataclass(frozen=True)
class Remembered:
    """A selection on its way to another process. `samples`: an Arrow stream of keys, and how far each row of the index
    is from the one before."""

    version: str
    everything: bool
    samples: bytes
    digest: str

    @classmethod
    def of(cls, columns: IndexColumns, chosen: Rows | None) -> Remembered:
        """Rows of the index, rising; None: all."""
        import pyarrow as pa

        keys = columns.all_keys()
        if chosen is not None:
            keys = keys.take(from_numpy(chosen))
        steps = from_numpy(np.diff(np.arange(columns.num_rows) if chosen is None else chosen, prepend=0))
        table = pa.table({"key": keys, "step": steps})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as stream:
            stream.write_table(table)
        digest = selection_digest(columns, chosen)
        return cls(columns.version, chosen is None, sink.getvalue().to_pybytes(), digest)

    def found_in(self, columns: IndexColumns) -> Rows | None:
        """The rows of the same samples in an index just opened, None for all. Raises ChangedError when one is gone or
        changed."""
        if columns.version == self.version:
            return None if self.everything else np.cumsum(to_numpy(self._table()["step"]))
        import pyarrow.compute as pc

        keys = columns.all_keys()
        places = pc.index_in(self._table()["key"], value_set=keys)
        if places.null_count:
            gone = self._table()["key"].filter(pc.is_null(places))
            raise ChangedError(
                f"{columns.name} is not of the dataset that this selection was pickled with: {len(gone)} of its "
                f"samples are gone, e.g. {gone[0].as_py()!r}. The dataset changed, so select again"
            )
        rows = np.sort(to_numpy(places).astype(np.int64))
        found = None if self.everything and len(rows) == columns.num_rows else rows
        if selection_digest(columns, found) != self.digest:
            raise ChangedError(
                f"{columns.name} is not of the dataset that this selection was pickled with: samples of it have "
                "changed, or come in another order. The dataset changed, so select again"
            )
        return found

    def _table(self) -> pa.Table:
        import pyarrow as pa

        return pa.ipc.open_stream(self.samples).read_all()
