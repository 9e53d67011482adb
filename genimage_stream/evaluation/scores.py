"""`gs.Scores`: what a model says of each sample of a dataset, each exactly once, also over several ranks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from genimage_stream.arguments import WrongKindError, flag
from genimage_stream.dataset.dataset import Dataset
from genimage_stream.evaluation.metrics import Floats
from genimage_stream.evaluation.ranks import Ranks
from genimage_stream.evaluation.table import Reals, Table
from genimage_stream.evaluation.tabulate import tabulate
from genimage_stream.remedies import printable

if TYPE_CHECKING:
    import pyarrow as pa

    from genimage_stream.loading.batch import Batch

NOT_DEGRADED = "none"

_MOST_DEGRADATIONS = 1024  # in one file
_NAMED = 3  # samples that an error names


class Scores:
    """Probabilities that samples are fake, by their place in `dataset`.

        scores = gs.Scores(loader.dataset)
        for batch in loader:
            scores.add(batch, model(batch.images).sigmoid())
        print(scores.gather().table().markdown())

    Takes 8 bytes per sample of the dataset and degradation.
    """

    def __init__(self, dataset: Dataset) -> None:
        if not isinstance(dataset, Dataset):
            raise WrongKindError(f"{dataset!r} is no dataset: gs.Scores(loader.dataset)")
        if not len(dataset):
            raise ValueError(f"the selection of {dataset.path} is empty: there is nothing to score")
        self.dataset = dataset
        access = dataset.access
        self._labels: npt.NDArray[np.int64] = access.take(access.targets()[0])
        self._scores: dict[str, Floats] = {}  # by degradation, (len(dataset),), nan where there is none yet
        self._gathered = False

    def __len__(self) -> int:
        """Scores there are, all degradations together."""
        return sum(int(np.count_nonzero(~np.isnan(scores))) for scores in self._scores.values())

    def __repr__(self) -> str:
        done = ", ".join(self.degradations) or "no scores"
        return f"Scores({self.dataset.path!r}, {len(self)} scores of {len(self.dataset)} samples: {done})"

    @property
    def degradations(self) -> list[str]:
        """The degradations there are scores of, in the order in which they came; "none" for images as they are."""
        return list(self._scores)

    def of(self, degradation: str = NOT_DEGRADED) -> Floats:
        """The scores of one degradation, (len(dataset),) float64; nan for samples that have none."""
        if degradation not in self._scores:
            raise ValueError(f"there are no scores of {degradation!r}, but of {', '.join(self._scores) or 'nothing'}")
        copy: Floats = self._scores[degradation].copy()
        return copy

    def fakes(self) -> npt.NDArray[np.bool_]:
        """Whether each sample of the dataset is a fake, (len(dataset),)."""
        found: npt.NDArray[np.bool_] = self._labels == 1
        return found

    def only(self, degradations: Sequence[str]) -> Scores:
        """The scores of these degradations, those there are, in this order; not gathered yet."""
        found = Scores(self.dataset)
        found._scores = {name: self._scores[name] for name in degradations if name in self._scores}
        return found

    # -- adding --------------------------------------------------------------------------------------------------------

    def add(
        self, batch: Batch | npt.ArrayLike, p: Any, *, logits: bool = False, degradation: str | None = None
    ) -> None:
        """Keep the scores of a batch of a loader of `dataset`, or of places in `dataset`, int (n,).

        `p`: a tensor or array of n probabilities of 0 to 1 that the sample is fake, (n,) or (n, 1). With v views in the
        batch's images (n, v) or (n * v,): they are averaged, and so are (sum of v,) with views="all". With m
        degradations (n, m), with both (n, m, v), or flat.
        `logits=True` takes numbers before the sigmoid. `degradation` names what was done to the images, if anything.

        Raises ValueError, and keeps nothing of the batch, for another number of scores, a score that is nan or no
        probability, a sample that the dataset does not have or that has a score already.
        """
        if self._gathered:
            raise ValueError("these scores are gathered, each rank has all of them: others need a new gs.Scores")
        part = _Part.of(batch)
        self._check_rows(part.rows, part.labels, part.keys)
        names = part.degradations or (NOT_DEGRADED if degradation is None else degradation,)
        if part.degradations and degradation is not None:
            raise ValueError(f"degradation={degradation!r}: the batch has its own, {', '.join(names)}; omit it")
        if not all(isinstance(name, str) and name for name in names):
            raise WrongKindError(f"degradation={degradation!r}: a name is needed, e.g. 'jpeg:65'")
        scores = self._averaged(part, _as_floats(p), flag("logits", logits))
        for name in names:
            self._check_once(part.rows, name)
        for name, of_name in zip(names, scores.T, strict=True):
            self._scores.setdefault(name, np.full(len(self.dataset), np.nan))[part.rows] = of_name

    def _check_once(self, rows: npt.NDArray[np.int64], name: str) -> None:
        ordered = np.sort(rows)
        twice = ordered[1:][ordered[1:] == ordered[:-1]]
        if name in self._scores and not len(twice):
            twice = rows[~np.isnan(self._scores[name][rows])]
        if len(twice):
            raise ValueError(f"{self._named(twice)}: scored already{_for(name)}; each sample is scored once")

    def _check_rows(
        self, rows: npt.NDArray[np.int64], labels: npt.NDArray[np.int64] | None, keys: list[str] | None
    ) -> None:
        outside = rows[(rows < 0) | (rows >= len(self.dataset))]
        if len(outside):
            raise ValueError(
                f"row {outside[0]} is unknown: the dataset of these scores has the rows 0 to {len(self.dataset) - 1}. "
                "Make them with gs.Scores(loader.dataset)"
            )
        access = self.dataset.access
        unlike = labels is not None and not np.array_equal(labels, self._labels[rows])
        places = rows if access.chosen is None else access.chosen[rows]  # rows of the index, without making all of them
        if unlike or (keys is not None and keys != access.columns.keys(places)):
            raise ValueError(
                "the batch is of another dataset or selection: its labels or keys are not those of its rows. "
                "Make the scores with gs.Scores(loader.dataset)"
            )

    def _averaged(self, part: _Part, p: Floats, logits: bool) -> Floats:
        """One probability for each row and degradation, (n, m)."""
        rows, n = part.rows, len(part.rows)
        if part.view_of is not None:
            return self._by_view(part, p, logits)
        whole, averaged = (n, *part.pictures), (n, *map(len, filter(None, [part.degradations])))
        allowed = {whole, averaged, (math.prod(whole),)}
        if not allowed & {p.shape, p.shape[:-1] if p.shape[-1:] == (1,) else p.shape}:
            wanted = f"{whole} or ({math.prod(whole)},)" if part.pictures else f"({n},) or ({n}, 1)"
            raise ValueError(f"scores of the shape {p.shape} for a batch of {n} samples: {wanted} is needed")
        degradations = len(part.degradations or (NOT_DEGRADED,))
        p = p.reshape(n, degradations, p.size // (n * degradations) if n else 1)
        means: Floats = self._probabilities(rows, p, logits).mean(axis=2)
        return means

    def _by_view(self, part: _Part, p: Floats, logits: bool) -> Floats:
        """`_averaged` where samples have unlike numbers of views: `p` (views,) or (views, 1)."""
        assert part.view_of is not None
        rows, count = part.rows, len(part.view_of)
        if p.shape not in {(count,), (count, 1)}:
            raise ValueError(
                f"scores of the shape {p.shape} for a batch of {len(rows)} samples in {count} views: ({count},) or "
                f"({count}, 1) is needed"
            )
        p = self._probabilities(rows[part.view_of], p.reshape(-1), logits)
        views = np.bincount(part.view_of, minlength=len(rows))
        sums = np.bincount(part.view_of, weights=p, minlength=len(rows))
        return (sums / views)[:, None]

    def _probabilities(self, rows: npt.NDArray[np.int64], p: Floats, logits: bool) -> Floats:
        """Scores (n, ...) of the samples at `rows` (n,) as probabilities, each checked."""
        others = tuple(range(1, p.ndim))
        unusable = np.isnan(p).any(axis=others)
        if unusable.any():
            raise ValueError(f"{self._named(np.unique(rows[unusable]))}: the score is nan")
        if logits:
            p = 0.5 * (1 + np.tanh(0.5 * p))  # the sigmoid, without an overflow
        outside = (p < 0) | (p > 1)
        if outside.any():
            named = self._named(np.unique(rows[outside.any(axis=others)]))
            raise ValueError(
                f"{named}: the score is {p[outside][0]:g}, no probability of 0 to 1. "
                "If the model gives logits, add(batch, p, logits=True)"
            )
        return p

    # -- all ranks -----------------------------------------------------------------------------------------------------

    def gather(self, *, partial: bool = False) -> Scores:
        """Bring the scores of all ranks of torch.distributed together, here and on every rank; returns these scores.

        Every rank calls it once, after its last batch. Without a process group it only checks that every sample has
        its score. `partial=True` lets samples lack (the loader skipped them with on_error="skip"); tables then say so.

        Raises ValueError on every rank for samples without a score or with several, naming them, and when the ranks
        score other datasets; RuntimeError when a rank has ended.
        """
        partial = flag("partial", partial)
        if self._gathered:
            return self
        ranks = Ranks()
        told = ranks.objects((self.dataset.access.digest() if ranks.count > 1 else "", self.degradations))
        if len({digest for digest, _ in told}) > 1:
            raise ValueError("the ranks have scores of different datasets or selections: open the same on all of them")
        names = list(dict.fromkeys(name for _, of_rank in told for name in of_rank))
        if not names:
            raise ValueError("there are no scores: add(batch, p) for every batch of the loader comes first")
        together = {name: self._from_all(ranks, name) for name in names}
        for name, scores in together.items():
            missing = np.flatnonzero(np.isnan(scores))
            if len(missing) and not partial:
                raise ValueError(
                    f"{self._named(missing)}: no score{_for(name)}. Score the whole loader on every rank, or "
                    "gather(partial=True) for tables that say what is missing"
                )
        self._scores = together
        self._gathered = True
        return self

    def _from_all(self, ranks: Ranks, name: str) -> Floats:
        mine = self._scores.get(name, np.empty(0))
        if ranks.count == 1:
            return mine
        rows = np.flatnonzero(~np.isnan(mine))
        all_rows = np.concatenate(ranks.arrays(rows))
        values = np.concatenate(ranks.arrays(mine[rows]))
        times = np.bincount(all_rows, minlength=len(self.dataset))
        if (times > 1).any():
            raise ValueError(
                f"{self._named(np.flatnonzero(times > 1))}: scored by several ranks{_for(name)}. A sampler that pads "
                "ranks with repeated samples does that, a gs.Loader does not"
            )
        together = np.full(len(self.dataset), np.nan)
        together[all_rows] = values
        return together

    # -- results -------------------------------------------------------------------------------------------------------

    def table(
        self,
        by: str | Sequence[str] = "subset",
        reals: Reals = "own",
        *,
        degradation: str | None = None,
        bootstrap: int = 0,
        seed: int = 0,
    ) -> Table:
        """The figures of groups of samples: see `Table`.

        `by`: "subset" (the generator whose fakes and reals they are), "degradation", "split", "format", "class_index",
        "synset", or several of them. `reals="own"` takes a subset's own reals, and where it has none those of the pool
        "real", which the table says; "pooled" takes all reals for every group. `degradation` chooses one where there
        are several and `by` does not name them. `bootstrap`: number of resamples of samples for 95 % intervals, drawn
        with `seed`.

        Raises ValueError for anything else, and when there are no scores. Samples without a score are counted in the
        table's notes.
        """
        about = self.dataset, self._labels, self._scores
        return tabulate(*about, by, reals, degradation, bootstrap, seed, gathered=self._gathered)

    def save(self, path: str | Path) -> None:
        """Write a Parquet file with a row per score: row, key, subset, label, degradation, score."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        keys = self.dataset.table(["key", "generator", "label"])
        parts = []
        for name, scores in self._scores.items():
            rows = np.flatnonzero(~np.isnan(scores))
            about = keys.take(pa.array(rows))
            word = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(rows), np.int32)), pa.array([name]))
            columns = {
                "row": pa.array(rows),
                "key": about["key"],
                "subset": about["generator"],
                "label": about["label"],
                "degradation": word,
                "score": pa.array(scores[rows]),
            }
            parts.append(pa.table(columns))
        if not parts:
            raise ValueError("there are no scores to save: add(batch, p) comes first")
        pq.write_table(pa.concat_tables(parts).unify_dictionaries(), str(path), write_page_checksum=True)

    @classmethod
    def load(cls, dataset: Dataset, *paths: str | Path) -> Scores:
        """The scores of files that `save` wrote, of the same dataset; those of several files are put together.

        Raises ValueError for a file of another dataset, or a sample that is in two files.
        """
        import pyarrow.compute as pc

        scores = cls(dataset)
        keys = dataset.table(["key"])["key"]
        for path in paths:
            table = _stored(path, _MOST_DEGRADATIONS * max(1, len(dataset)))
            rows, values = table["row"].to_numpy(), table["score"].to_numpy()
            inside = not len(rows) or (rows.min() >= 0 and rows.max() < len(dataset))
            if not inside or not pc.all(pc.equal(keys.take(table["row"]), table["key"])).as_py():
                raise ValueError(f"{path} has scores of another dataset or selection than {dataset!r}")
            for name in pc.unique(table["degradation"]).to_pylist():
                here = pc.equal(table["degradation"], name).to_numpy()
                scores.add(rows[here], values[here], degradation=name)
        return scores

    def _named(self, rows: npt.NDArray[np.int64]) -> str:
        """Samples by their keys, a few of them."""
        keys = self.dataset.access.columns.keys(self.dataset.access.rows[np.sort(rows)[:_NAMED]])
        more = f" and {len(rows) - len(keys):,} more samples" if len(rows) > len(keys) else ""
        return ", ".join(keys) + more


def _stored(path: str | Path, most: int) -> pa.Table:
    """The columns of a file that `save` wrote, of at most `most` rows, without nulls. Raises ValueError for what is
    none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"row": pa.int64(), "key": pa.string(), "degradation": pa.string(), "score": pa.float64()}
    try:
        with pq.ParquetFile(str(path), page_checksum_verification=True) as file:
            if file.metadata.num_rows > most:
                raise ValueError(f"{file.metadata.num_rows:,} scores are more than this dataset can have")
            table = file.read(list(columns))
        table = table.select(list(columns)).cast(pa.schema(list(columns.items())))
    except (pa.ArrowException, KeyError, TypeError, UnicodeError, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the disk, not of Arrow
            raise
        raise ValueError(f"{path} is no file of scores: {printable(str(error))}") from error
    if table["key"].null_count or table["row"].null_count or table["degradation"].null_count:
        raise ValueError(f"{path} is no file of scores: it has rows without a key, place or degradation")
    return table


def _for(degradation: str) -> str:
    return "" if degradation == NOT_DEGRADED else f" for {degradation}"


@dataclass(frozen=True)
class _Part:
    """What scores are for: rows (n,), their labels and keys if known, and the pictures of each, () for one."""

    rows: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64] | None = None
    pictures: tuple[int, ...] = ()
    degradations: tuple[str, ...] | None = None
    view_of: npt.NDArray[np.int64] | None = None
    keys: list[str] | None = None

    @classmethod
    def of(cls, batch: Any) -> _Part:
        if hasattr(batch, "rows"):
            rows, labels = (np.asarray(tensor.cpu(), np.int64) for tensor in (batch.rows, batch.labels))
            view_of, keys = getattr(batch, "view_of", None), getattr(batch, "keys", None)
            if view_of is not None:
                return cls(rows, labels, view_of=np.asarray(view_of.cpu(), np.int64), keys=keys)
            return cls(rows, labels, tuple(batch.images.shape[1:-3]), getattr(batch, "degradations", None), keys=keys)
        rows = np.asarray(batch)
        if rows.ndim != 1 or (rows.size and not np.issubdtype(rows.dtype, np.integer)):
            raise WrongKindError(
                f"{type(batch).__name__} is neither a batch nor whole numbers (n,), places in the dataset"
            )
        return cls(rows.astype(np.int64))


def _as_floats(p: Any) -> Floats:
    if hasattr(p, "detach"):
        p = p.detach().cpu().double().numpy()
    try:
        return np.asarray(p, np.float64)
    except (TypeError, ValueError):
        raise WrongKindError(f"scores of the type {type(p).__name__}: a tensor or array of numbers is needed") from None
