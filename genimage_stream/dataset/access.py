"""What a dataset is made of, for the loader and the tools: users meet `Dataset` alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from genimage_stream.dataset.sameness import selection_digest
from genimage_stream.schema import stored_hash_column
from genimage_stream.storage.store import ShardContents
from genimage_stream.storage.tar_headers import read_member
from genimage_stream.transforms.step import Step, to_json
from genimage_stream.vocabulary import LABELS

if TYPE_CHECKING:
    from genimage_stream.dataset.columns import Codes, IndexColumns
    from genimage_stream.dataset.info import DatasetInfo
    from genimage_stream.storage.store import Reader, Store

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Parts:
    """The datasets that one is made of. `names`: their folders or addresses, without what is secret in these."""

    names: Sequence[str]
    number_of: Callable[[str], int]  # which of them a shard is of


@dataclass(frozen=True, eq=False)
class Access:
    """`dataset.access`: the store, dataset.json, the index, and which of its rows are selected.

    `chosen`: rising rows of the index; None: all. `steps`: what every image goes through first. `reopen` opens the
    whole dataset again, in another process too.
    """

    store: Store
    info: DatasetInfo
    columns: IndexColumns
    reopen: Callable[[], Access] = field(repr=False)  # holds credentials
    chosen: Rows | None = None
    steps: tuple[Step, ...] = field(default=(), kw_only=True)
    parts: Parts | None = field(default=None, kw_only=True)  # of several that were opened as one

    @property
    def whole(self) -> bool:
        """Whether nothing was selected: every row of the index is here."""
        return self.chosen is None

    @property
    def rows(self) -> Rows:
        """The selected rows of the index, rising, int64 (n,)."""
        return np.arange(self.columns.num_rows) if self.chosen is None else self.chosen

    def __len__(self) -> int:
        return self.columns.num_rows if self.chosen is None else len(self.chosen)

    def with_rows(self, rows: Rows | None) -> Access:
        """The same with other rows selected."""
        return replace(self, chosen=rows)

    def take(self, column: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Of a column of the whole index, the selected rows."""
        return column if self.chosen is None else column[self.chosen]

    def digest(self) -> str:
        """32 hexadecimal digits that identify these samples in this order and their steps, whatever else the dataset
        holds.

        Reads the keys and hashes of the whole index: seconds for millions of rows.
        """
        found = selection_digest(self.columns, self.chosen)
        return blake2b((found + to_json(self.steps)).encode(), digest_size=16).hexdigest() if self.steps else found

    def contributions(self) -> list[dict[str, Any]]:
        """What each dataset that was opened gives to the selection, JSON-able: path, samples and their digest; without
        those that give nothing. Their order does not depend on where they are."""
        parts = self.parts or Parts([self.store.name], lambda _: 0)
        codes, shards = self.shards()
        number = np.array([parts.number_of(shard) for shard in shards])[codes]
        found = []
        for part, name in enumerate(parts.names):
            rows = self.rows[self.take(number) == part]
            if len(rows):
                found.append({"path": name, "samples": len(rows), "digest": selection_digest(self.columns, rows)})
        return sorted(found, key=lambda one: (one["digest"], one["path"]))

    def shards(self) -> tuple[Codes, list[str]]:
        """Each row's shard, int32 (all rows,), as a place in the list of the shards' paths within the dataset."""
        return self.columns.words("shard")

    def reader(self) -> Reader:
        """Fetches samples' bytes: through the cache, if the dataset was opened with one."""
        return self.store.reader(self.shards()[1], self.contents)

    def read(self, row: int) -> bytes:
        """The stored image of a row of the index. Raises OSError when its shard cannot be read, or is another one than
        the index describes."""
        codes, shards = self.shards()
        offset, size = (int(column[row]) for column in self.columns.native("offset", "size"))
        (name,) = self.columns.member_names(np.array([row]))
        return read_member(self.store, shards[codes[row]], name, offset, size)

    def contents(self) -> ShardContents:
        """Where each shard's images are, and their hashes; the hashes of a shard are read when they are asked for."""
        columns = self.columns
        codes, shards = self.shards()
        order = np.argsort(codes, kind="stable")
        rows = np.split(order, np.searchsorted(codes[order], np.arange(1, len(shards))))
        offset, size = columns.numbers("offset", "size")
        hash_name = stored_hash_column(columns.names)

        def images(shard: int) -> list[tuple[int, int, str]]:
            here = rows[shard]
            hashes = columns.part(hash_name, here).to_pylist()
            return list(zip(offset[here].tolist(), size[here].tolist(), hashes, strict=True))

        ends = [int(np.max(offset[here] + size[here], initial=0)) for here in rows]
        return ShardContents(f"{self.info.plan_digest} {columns.num_rows}", ends, images)

    def targets(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Labels (0 real, 1 fake) and generator codes (0 real, 1 + place in `generators` for a fake) of all rows.

        Raises ValueError when the index holds another label.
        """
        labels = self.label_numbers()[self.columns.words("label")[0]]
        generators = self.columns.words("generator")[0]
        return labels, (generators.astype(np.int64) + 1) * labels

    def label_numbers(self) -> npt.NDArray[np.int64]:
        """The number, 0 real or 1 fake, of each code of the index's labels. Raises ValueError for another label."""
        codes, values = self.columns.words("label")
        unknown = [value for value in values if value not in LABELS] + ["null"] * bool((codes < 0).any())
        if unknown:
            raise ValueError(f"{self.columns.name} holds the label {unknown[0]!r}; labels are real and fake")
        return np.array([LABELS.index(value) for value in values], np.int64)
