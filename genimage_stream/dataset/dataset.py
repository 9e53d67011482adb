"""A packed dataset: open it, select from it, find where the bytes of a sample are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from genimage_stream import schema
from genimage_stream.arguments import names
from genimage_stream.dataset import subsets
from genimage_stream.dataset.columns import Codes, IndexColumns
from genimage_stream.vocabulary import generator_alias

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as pads

    from genimage_stream.storage.store import Reader, Store

LABELS = ("real", "fake")  # a label's number is its place here

Rows = npt.NDArray[np.int64]
Window = tuple[int | None, int | None]


def open_dataset(
    path: str | Path,
    *,
    storage_options: dict[str, Any] | None = None,
    cache_dir: str | Path | None = None,
    cache_size: int | float | str = "50GB",
) -> Dataset:
    """Open a packed dataset by its folder or its `s3://`, `gs://`, `http(s)://` address. Reads no shard.

    `storage_options` go to the object store (see docs/loading.md). `cache_dir`: a folder on a local disk where shards
    of an object store are kept, `cache_size` bytes at most over all datasets and processes that use it. Raises
    FileNotFoundError when there is no finished dataset, ValueError when it is of another format.
    """
    from genimage_stream.resources import parse_size
    from genimage_stream.storage.store import open_store

    store = open_store(path, storage_options, None if cache_dir is None else (cache_dir, parse_size(cache_size)))
    try:
        text = store.read(schema.DATASET_FILE)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{store.name} holds no finished dataset: there is no {schema.DATASET_FILE}. "
            f"`shard-tools pack SRC {store.name}` makes or finishes one."
        ) from None
    try:
        info = json.loads(bytes(text))
    except ValueError as error:
        raise ValueError(f"{store.name}/{schema.DATASET_FILE} is not JSON: {error}") from error
    if not isinstance(info, dict):
        raise ValueError(f"{store.name}/{schema.DATASET_FILE} holds no JSON object")
    version = info.get("format_version", schema.FORMAT_VERSION)
    if not isinstance(version, int) or version > schema.FORMAT_VERSION:
        raise ValueError(
            f"{store.name} has format version {version}, this genimage-stream reads up to {schema.FORMAT_VERSION}: "
            "install a newer one"
        )
    name = f"{store.name}/{schema.INDEX_FILE}"
    try:
        columns = IndexColumns(store.file(schema.INDEX_FILE), name)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{store.name} is not finished: there is no {schema.INDEX_FILE}. Run the same `shard-tools pack` again."
        ) from None
    return Dataset(store, info, columns, None)


class Dataset:
    """Samples of a packed dataset: all of them, or a selection. Never changes; selecting gives another one.

    A sample is known by its row in the index, which no selection changes.
    """

    def __init__(self, store: Store, info: dict[str, Any], columns: IndexColumns, rows: Rows | None) -> None:
        self.store = store
        self.info = info
        self.columns = columns
        self._rows = rows  # rising; None: all

    def __len__(self) -> int:
        return self.columns.num_rows if self._rows is None else len(self._rows)

    def __reduce__(self) -> tuple[Any, ...]:
        from genimage_stream.storage.store import OpenedStore

        if not isinstance(self.store, OpenedStore):
            raise TypeError(f"{self!r} was not opened by open_dataset, so another process cannot open it")
        return _reopen, (self.store.opening(), self._rows)

    def __repr__(self) -> str:
        part = "" if self._rows is None else f" of {self.columns.num_rows}"
        return f"Dataset({self.path!r}, {len(self)}{part} samples)"

    @property
    def path(self) -> str:
        """The folder or address it was opened by."""
        return self.store.name

    @property
    def generators(self) -> list[str]:
        """The generators of the whole dataset, sorted: a fake of generators[i] has the code i + 1 in a batch."""
        return list(self.columns.words("generator")[1])

    @property
    def whole(self) -> bool:
        """Whether nothing was selected: every row of the index is here."""
        return self._rows is None

    @property
    def rows(self) -> Rows:
        """The selected rows of the index, rising, int64 (n,)."""
        return np.arange(self.columns.num_rows) if self._rows is None else self._rows

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Columns of the index (all by default) for the selected samples, as an Arrow table."""
        import pyarrow as pa

        table = self.columns.table(self.columns.names if columns is None else columns)
        return table if self._rows is None else table.take(pa.array(self._rows))

    def counts(self) -> dict[tuple[str, str, str], int]:
        """Samples per (generator, split, label), those there are."""
        names = ("generator", "split", "label")
        codes, values = zip(*(self.columns.words(name) for name in names), strict=True)
        sizes = [len(v) for v in values]
        flat = np.ravel_multi_index(tuple(self._take(c) for c in codes), sizes)
        found = np.bincount(flat, minlength=int(np.prod(sizes)))
        places = np.nonzero(found)[0]
        grid = np.unravel_index(places, sizes)
        return {
            (values[0][g], values[1][s], values[2][k]): int(n) for g, s, k, n in zip(*grid, found[places], strict=True)
        }

    def digest(self) -> str:
        """32 hexadecimal digits that tell this selection of this dataset from others."""
        state = blake2b(digest_size=16)
        about = {k: self.info.get(k) for k in ("format_version", "plan_digest")}
        state.update(json.dumps([about, self.columns.num_rows], sort_keys=True).encode())
        if len(self) != self.columns.num_rows:
            state.update(np.ascontiguousarray(self._rows, "<i8").data)
        return state.hexdigest()

    # -- selecting -----------------------------------------------------------------------------------------------------

    def select(
        self,
        *,
        generators: Iterable[str] | None = None,
        splits: Iterable[str] | None = None,
        labels: Iterable[str] | None = None,
        classes: Iterable[int | str] | None = None,
        formats: Iterable[str] | None = None,
        width: Window | None = None,
        height: Window | None = None,
        jpeg_quality: Window | None = None,
        where: pads.Expression | None = None,
    ) -> Dataset:
        """The samples that meet every condition given.

        `generators` may have any of the names that `vocabulary.ALIASES` knows, `classes` are ImageNet class indices or
        synsets. `width`, `height` (pixels) and `jpeg_quality` are windows
        (lowest, highest), both included, None for an open end; a sample without the number (the quality of a PNG) is
        outside every window. `where` is any Arrow expression over the columns of the index, as
        `pyarrow.compute.field("width") == pyarrow.compute.field("height")`.

        Selections of one dataset can be joined: `a | b`, `a & b`, `a - b`. Raises ValueError for a name or column
        that the dataset does not have, or a condition that is none.
        """
        keep = np.ones(len(self), bool)
        named = (("generator", generators), ("split", splits), ("label", labels), ("format", formats))
        for column, wanted in named:
            if wanted is not None:
                keep &= self._among(column, wanted)
        if classes is not None:
            keep &= self._of_classes(classes)
        for column, window in (("width", width), ("height", height), ("jpeg_quality", jpeg_quality)):
            if window is not None:
                keep &= self._within(column, window)
        if where is not None:
            keep &= self._take(self.columns.matches(where))
        return self._with(self.rows[keep])

    def first(self, n: int, *, per: Sequence[str] = ("generator", "split", "label")) -> Dataset:
        """The first n samples of each group, in the order of their keys, which is that of their file names."""
        return self._with(subsets.first(self, n, per))

    def sample(self, n: int, *, per: Sequence[str] = (), seed: int = 0) -> Dataset:
        """n random samples, or n of each group; all of a smaller one.

        The choice goes by the images' content (sha256) and the seed: it is the same however the dataset was packed.
        """
        return self._with(subsets.sample(self, n, per, seed))

    def split(
        self, *fractions: float, per: Sequence[str] = ("generator", "split", "label"), seed: int = 0
    ) -> list[Dataset]:
        """Random parts, as `train, held_out = dataset.split(0.9, 0.1)`, each with its fraction of every group.

        They share no sample and are together everything. The choice goes by the images' content, as in `sample`.
        """
        return [self._with(rows) for rows in subsets.split(self, fractions, per, seed)]

    def _among(self, column: str, wanted: Iterable[str]) -> npt.NDArray[np.bool_]:
        codes, values = self.columns.words(column)
        known = set(LABELS) | set(values) if column == "label" else set(values)
        asked = names(f"{column}s", wanted)
        if column == "generator":
            asked = [_listed(word, known) for word in asked]
        unknown = [word for word in asked if word not in known]
        if unknown:
            raise ValueError(
                f"{self.path} has no {column} {', '.join(map(repr, unknown))}; it has {', '.join(values) or 'none'}"
            )
        return np.isin(self._take(codes), [values.index(word) for word in asked if word in values])

    def _of_classes(self, classes: Iterable[int | str]) -> npt.NDArray[np.bool_]:
        asked = [classes] if isinstance(classes, str) else list(classes)
        synsets = [c for c in asked if isinstance(c, str)]
        indices = [int(c) for c in asked if not isinstance(c, str)]
        outside = [i for i in indices if not 0 <= i < 1000]
        if outside:
            raise ValueError(f"ImageNet has classes 0 to 999, not {outside[0]}")
        keep = np.isin(self._take(self.columns.numbers("class_index")[0]), indices)
        return keep | self._among("synset", synsets) if synsets else keep

    def _within(self, column: str, window: Window) -> npt.NDArray[np.bool_]:
        ends = window if isinstance(window, (tuple, list)) else ()
        if len(ends) != 2 or not all(end is None or isinstance(end, Real) for end in ends):
            raise ValueError(f"{column}={window!r}: (lowest, highest) is needed, None for an open end")
        lowest, highest = ends
        if lowest is not None and highest is not None and lowest > highest:
            raise ValueError(f"{column}=({lowest}, {highest}): the lowest comes first")
        numbers = self._take(self.columns.numbers(column)[0])
        keep = numbers >= max(0, lowest or 0)  # a missing number is -1
        return keep if highest is None else keep & (numbers <= highest)

    def __or__(self, other: Dataset) -> Dataset:
        return self._with(np.union1d(self.rows, self._same(other).rows))

    def __and__(self, other: Dataset) -> Dataset:
        return self._with(np.intersect1d(self.rows, self._same(other).rows, assume_unique=True))

    def __sub__(self, other: Dataset) -> Dataset:
        return self._with(np.setdiff1d(self.rows, self._same(other).rows, assume_unique=True))

    def _same(self, other: Dataset) -> Dataset:
        if other.columns is not self.columns:
            raise ValueError(
                f"selections of two opened datasets ({self.path}, {other.path}) cannot be joined: "
                "open it once and select"
            )
        return other

    def _with(self, rows: Rows) -> Dataset:
        return Dataset(self.store, self.info, self.columns, rows)

    def _take(self, column: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return column if self._rows is None else column[self._rows]

    # -- what a loader needs -------------------------------------------------------------------------------------------

    def shards(self) -> tuple[Codes, list[str]]:
        """Each row's shard, int32 (all rows,), as a place in the list of the shards' paths within the dataset."""
        return self.columns.words("shard")

    def reader(self) -> Reader:
        """What fetches samples' bytes: through the cache, if the dataset was opened with one."""
        from genimage_stream.storage.store import OpenedStore

        paths = self.shards()[1]
        if isinstance(self.store, OpenedStore):
            return self.store.cached_reader(paths, self.columns, self.info)
        return self.store.reader(paths)

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


def _reopen(opening: dict[str, Any], rows: Rows | None) -> Dataset:
    whole = open_dataset(**opening)
    return Dataset(whole.store, whole.info, whole.columns, rows)


def _listed(word: str, known: set[str]) -> str:
    """A generator as the dataset calls it, when it is given by another of its known names."""
    alias = None if word in known or not isinstance(word, str) else generator_alias(word)
    return alias if alias in known else word
