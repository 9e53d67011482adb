"""A packed dataset as users meet it: count, select, join, split."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from genimage_stream.arguments import names
from genimage_stream.dataset import subsets
from genimage_stream.dataset.map_style import MapStyle, Transform, place
from genimage_stream.dataset.numbers import from_numpy
from genimage_stream.dataset.sameness import Remembered
from genimage_stream.dataset.sample import Sample, read_sample, row_of_key
from genimage_stream.vocabulary import LABELS, alias

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.dataset as pads

    from genimage_stream.dataset.access import Access, Rows
    from genimage_stream.transforms.step import Step

Window = tuple[int | None, int | None]


class Dataset:
    """Samples of a packed dataset: all of them, or a selection. Never changes; selecting gives another one.

    A sample is known by its row in the index, which no selection changes. `access` is what it is made of, for the
    loader and the tools.
    """

    def __init__(self, access: Access) -> None:
        self.access = access
        self._remembered: Remembered | None = None  # once it was pickled

    def __len__(self) -> int:
        return len(self.access)

    def __reduce__(self) -> tuple[Any, ...]:
        if self._remembered is None:
            self._remembered = Remembered.of(self.access.columns, self.access.chosen)
        return _reopened, (self.access.reopen, self._remembered, self.access.steps)

    def __repr__(self) -> str:
        part = "" if self.access.whole else f" of {self.access.columns.num_rows:,}"
        counts = self.counts()
        generators, splits, labels = ({key[i]: 0 for key in counts} for i in range(3))
        for (_, _, label), count in counts.items():
            labels[label] += count
        inside = [", ".join(f"{labels[name]:,} {name}" for name in labels), ", ".join(generators), ", ".join(splits)]
        if self.steps:
            inside.append(f"first {', '.join(map(repr, self.steps))}")
        return f"Dataset({self.path!r}, {len(self):,}{part} samples" + (f": {'; '.join(inside)})" if counts else ")")

    def __getitem__(self, which: int | str) -> Sample:
        """The sample at a place in this dataset, from the end if negative, or with a key. For looking at: a `Loader`
        reads many, `select` and `first` make smaller datasets.

        Raises IndexError or KeyError when there is none, OSError when its shard cannot be read.
        """
        row = row_of_key(self.access, which) if isinstance(which, str) else place(which, len(self))
        return read_sample(self.access, row)

    def __iter__(self) -> Iterator[Sample]:
        return map(self.__getitem__, range(len(self)))

    def __contains__(self, key: object) -> bool:
        """Whether a sample of this key is in this dataset."""
        try:
            return isinstance(key, str) and row_of_key(self.access, key) >= 0
        except KeyError:
            return False

    @property
    def path(self) -> str:
        """The folder or address it was opened by."""
        return self.access.store.name

    @property
    def generators(self) -> list[str]:
        """The generators of the whole dataset, sorted: a fake of generators[i] has the code i + 1 in a batch."""
        return list(self.access.columns.words("generator")[1])

    @property
    def steps(self) -> tuple[Step, ...]:
        """What a loader does to every image first, before degradations and its transform: those of `unbiased`."""
        return self.access.steps

    @property
    def index_rows(self) -> Rows:
        """int64 (n,), rising: the row in the whole index of each sample of this dataset."""
        return self.access.rows

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Columns of the index (all by default) for the selected samples, as an Arrow table."""
        table = self.access.columns.table(self.access.columns.names if columns is None else columns)
        return table if self.access.whole else table.take(from_numpy(self.access.rows))

    def to_pandas(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """`table` as a pandas DataFrame, a row per sample. Raises ImportError without pandas."""
        try:
            import pandas as pd  # noqa: F401 (Arrow imports it)
        except ImportError as error:
            raise ImportError("to_pandas needs pandas: pip install pandas. table() works without it") from error
        frame: pd.DataFrame = self.table(columns).to_pandas()
        return frame

    def as_map_style(self, transform: Transform = None, *, seed: int = 0) -> MapStyle:
        """A map-style dataset of pairs (image, label), for code that needs one; label 0 is real, 1 is fake.

        `transform`: a function of a Pillow image, e.g. torchvision's; a list of steps of `genimage_stream.transforms`,
        drawn from the seed, the epoch (its `set_epoch`) and the image; or None for images (height, width, 3) uint8.
        Raises ValueError for anything else.
        """
        return MapStyle(self.access, transform, seed)

    def counts(self) -> dict[tuple[str, str, str], int]:
        """Samples per (generator, split, label), those there are. Raises ValueError when one has no label."""
        names = ("generator", "split", "label")
        if (self.access.columns.words("label")[0] < 0).any():
            self.access.label_numbers()
        codes, values = zip(*(self.access.columns.words(name) for name in names), strict=True)
        sizes = [max(1, len(v)) for v in values]  # an index without rows has no words
        flat = np.ravel_multi_index(tuple(self.access.take(c) for c in codes), sizes)
        found = np.bincount(flat, minlength=int(np.prod(sizes)))
        places = np.nonzero(found)[0]
        grid = np.unravel_index(places, sizes)
        return {
            (values[0][g], values[1][s], values[2][k]): int(n) for g, s, k, n in zip(*grid, found[places], strict=True)
        }

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

        `generators`, `splits`, `labels` and `formats` may have any of the names that folders may have (SD14, test, ai,
        jpg, ...; vocabulary.py), `classes` are ImageNet class indices or
        synsets. `width`, `height` (pixels) and `jpeg_quality` are windows (lowest, highest), both included, None for an
        open end; a sample without the number (e.g. the quality of a PNG) is outside every window. `where` is any Arrow
        expression over columns of the index, e.g. `pyarrow.compute.field("width") > pyarrow.compute.field("height")`.

        Selections of one dataset can be joined: `a | b`, `a & b`, `a - b`. Raises ValueError for a name or column that
        the dataset does not have or a malformed condition, TypeError for a string where a list of names is needed.
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
            keep &= self.access.take(self.access.columns.matches(where))
        return self._with(self.access.rows[keep])

    def first(self, n: int, *, per: Sequence[str] = ("generator", "split", "label")) -> Dataset:
        """The first n samples of each group, in the order of their keys, which is that of their file names."""
        return self._with(subsets.first(self.access, n, per))

    def sample(self, n: int, *, per: Sequence[str] = (), seed: int = 0) -> Dataset:
        """n random samples, or n of each group; all of a smaller one.

        The choice depends only on the images' content (sha256) and the seed, not on how the dataset was packed.
        """
        return self._with(subsets.sample(self.access, n, per, seed))

    def split(
        self, *fractions: float, per: Sequence[str] = ("generator", "split", "label"), seed: int = 0
    ) -> list[Dataset]:
        """Random parts, each with its fraction of every group, e.g. `train, held_out = dataset.split(0.9, 0.1)`.

        Every sample is in exactly one part. The choice depends on the images' content, as in `sample`.
        """
        return [self._with(rows) for rows in subsets.split(self.access, fractions, per, seed)]

    def _among(self, column: str, wanted: Iterable[str]) -> npt.NDArray[np.bool_]:
        codes, values = self.access.columns.words(column)
        known = set(LABELS) | set(values) if column == "label" else set(values)
        asked = names(f"{column}s", wanted)
        if column != "synset":
            asked = [_listed(column, word, known) for word in asked]
        unknown = [word for word in asked if word not in known]
        if unknown:
            raise ValueError(
                f"{self.path} has no {column} {', '.join(map(repr, unknown))}; it has {', '.join(values) or 'none'}"
            )
        return np.isin(self.access.take(codes), [values.index(word) for word in asked if word in values])

    def _of_classes(self, classes: Iterable[int | str]) -> npt.NDArray[np.bool_]:
        asked = [classes] if isinstance(classes, str) else list(classes)
        synsets = [c for c in asked if isinstance(c, str)]
        indices = [int(c) for c in asked if not isinstance(c, str)]
        outside = [i for i in indices if not 0 <= i < 1000]
        if outside:
            raise ValueError(f"ImageNet has classes 0 to 999, not {outside[0]}")
        keep = np.isin(self.access.take(self.access.columns.numbers("class_index")[0]), indices)
        return keep | self._among("synset", synsets) if synsets else keep

    def _within(self, column: str, window: Window) -> npt.NDArray[np.bool_]:
        ends = window if isinstance(window, (tuple, list)) else ()
        if len(ends) != 2 or not all(end is None or isinstance(end, Real) for end in ends):
            raise ValueError(f"{column}={window!r}: (lowest, highest) is needed, None for an open end")
        lowest, highest = ends
        if lowest is not None and highest is not None and lowest > highest:
            raise ValueError(f"{column}=({lowest}, {highest}): the lowest comes first")
        numbers = self.access.take(self.access.columns.numbers(column)[0])
        keep = numbers >= max(0, lowest or 0)  # a missing number is -1
        return keep if highest is None else keep & (numbers <= highest)

    def __or__(self, other: Dataset) -> Dataset:
        return self._with(np.union1d(self.access.rows, self._same(other).access.rows))

    def __and__(self, other: Dataset) -> Dataset:
        return self._with(np.intersect1d(self.access.rows, self._same(other).access.rows, assume_unique=True))

    def __sub__(self, other: Dataset) -> Dataset:
        return self._with(np.setdiff1d(self.access.rows, self._same(other).access.rows, assume_unique=True))

    def _same(self, other: Dataset) -> Dataset:
        if other.access.columns is not self.access.columns:
            raise ValueError(
                f"selections of two opened datasets ({self.path}, {other.path}) cannot be joined: "
                "open it once and select"
            )
        if other.access.steps != self.access.steps:
            raise ValueError(
                "selections with other steps cannot be joined: join them first, and make the whole unbiased"
            )
        return other

    def _with(self, rows: Rows) -> Dataset:
        return Dataset(self.access.with_rows(rows))


def _reopened(reopen: Callable[[], Access], remembered: Remembered, steps: tuple[Step, ...] = ()) -> Dataset:
    access = reopen()
    return Dataset(replace(access, chosen=remembered.found_in(access.columns), steps=steps))


def _listed(column: str, word: str, known: set[str]) -> str:
    """A word of a column as the dataset has it, when it is given by another of its known names."""
    meant = None if word in known or not isinstance(word, str) else alias(column, word)
    return meant if meant in known else word
