"""Scores to a table: which samples are in which group, and the figures of each."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from genimage_stream.arguments import WrongKindError, one_of, whole
from genimage_stream.dataset.dataset import Dataset
from genimage_stream.dataset.groups import groups_of
from genimage_stream.evaluation.metrics import METRICS, Curve, Floats
from genimage_stream.evaluation.table import COUNTS, Reals, Row, Table
from genimage_stream.vocabulary import REAL_POOL

GROUPINGS = ("subset", "degradation", "split", "format", "class_index", "synset")

_PERCENTILES = (2.5, 97.5)  # of resamples: the ends of an interval

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Group:
    """Samples that make a row: what they have in common, and their places among the scores of their degradation."""

    key: tuple[Any, ...]
    degradation: str
    rows: Rows
    reals_from_pool: bool = False
    curve: Curve = field(init=False, repr=False)

    def sorted_by(self, fake: npt.NDArray[np.bool_], scores: Floats) -> Group:
        object.__setattr__(self, "curve", Curve(fake[self.rows], scores[self.rows]))
        return self


def tabulate(
    dataset: Dataset,
    labels: npt.NDArray[np.int64],
    scores: Mapping[str, Floats],
    by: str | Sequence[str],
    reals: Reals,
    degradation: str | None,
    bootstrap: int,
    seed: int,
    *,
    gathered: bool,
) -> Table:
    """`Scores.table`. `labels`: (n,); `scores`: by degradation, (n,), nan where there is none."""
    columns = _columns(by)
    one_of("reals", reals, ("own", "pooled"))
    bootstrap = whole("bootstrap", bootstrap, 0, " (0: no intervals)")
    seed = whole("seed", seed, 0)
    chosen = _chosen(scores, columns, degradation)
    fake = labels == 1
    groups = [
        group.sorted_by(fake, scores[name])
        for name in chosen
        for group in _groups(dataset, fake, ~np.isnan(scores[name]), columns, reals, name)
    ]
    if not groups:
        raise ValueError(f'all samples are of the pool "{REAL_POOL}", which is no subset: there are no groups')
    figures = [group.curve.measure() for group in groups]
    rows = [_row(group, columns, fake, found) for group, found in zip(groups, figures, strict=True)]
    mean = _mean_row(groups, columns, fake, figures)
    if bootstrap:
        _add_intervals(rows, mean, groups, len(dataset), bootstrap, seed)
    missing = {name: int(np.count_nonzero(np.isnan(scores[name]))) for name in chosen}
    notes = tuple(_notes(dataset, groups, columns, missing, gathered))
    return Table(tuple(columns), reals, rows, mean, notes, sum(missing.values()))


def _columns(by: str | Sequence[str]) -> list[str]:
    columns = ["degradation" if name == "degrade" else name for name in ([by] if isinstance(by, str) else by)]
    unknown = [name for name in columns if name not in GROUPINGS]
    if unknown or not columns or len(set(columns)) != len(columns):
        raise ValueError(f"by={by!r}: one or several of {', '.join(GROUPINGS)} are needed, each once")
    return columns


def _chosen(scores: Mapping[str, Floats], columns: Sequence[str], degradation: str | None) -> list[str]:
    """The degradations of a table."""
    if not scores:
        raise ValueError("there are no scores: add(batch, p) comes first")
    names = list(scores)
    if degradation is not None:
        if not isinstance(degradation, str):
            raise WrongKindError(f"degradation={degradation!r}: a name is needed, e.g. 'jpeg:65'")
        one_of("degradation", degradation, names)
        return [degradation]
    if len(names) > 1 and "degradation" not in columns:
        raise ValueError(
            f'there are scores of {len(names)} degradations ({", ".join(names)}): take by=["subset", "degradation"], '
            "or choose one, e.g. degradation=" + repr(names[0])
        )
    return names


def _groups(
    dataset: Dataset,
    fake: npt.NDArray[np.bool_],
    scored: npt.NDArray[np.bool_],
    columns: Sequence[str],
    reals: Reals,
    degradation: str,
) -> Iterator[Group]:
    """The groups of one degradation, in the order of their names; samples without a score are in none."""
    access = dataset.access
    of_index = ["generator" if name == "subset" else name for name in columns if name != "degradation"]
    parts: dict[tuple[Any, ...], Rows]
    if of_index:
        found = groups_of(access.columns, access.chosen, of_index)
        parts = {
            key: rows if access.chosen is None else np.searchsorted(access.chosen, rows) for key, rows in found.items()
        }
    else:
        parts = {(): np.arange(len(dataset))}
    parts = {key: rows[scored[rows]] for key, rows in parts.items()}
    subset = of_index.index("generator") if "subset" in columns else None
    all_reals = np.flatnonzero(scored & ~fake)
    for key, own in parts.items():
        if subset is not None and key[subset] == REAL_POOL:
            continue
        rows, pool = own, False
        if reals == "pooled":
            rows = np.union1d(own[fake[own]], all_reals)
        elif subset is not None and fake[own].all() and len(own):
            of_pool = parts.get((*key[:subset], REAL_POOL, *key[subset + 1 :]), np.empty(0, np.int64))
            pool = len(of_pool) > 0
            rows = np.union1d(own, of_pool)
        values = iter(key)
        yield Group(
            tuple(degradation if name == "degradation" else next(values) for name in columns), degradation, rows, pool
        )


def _row(group: Group, columns: Sequence[str], fake: npt.NDArray[np.bool_], figures: Mapping[str, float]) -> Row:
    fakes = int(np.count_nonzero(fake[group.rows]))
    row: Row = {"group": ", ".join(map(str, group.key))}
    if len(columns) > 1:
        row |= dict(zip(columns, group.key, strict=True))
    row["count"] = len(group.rows)
    row |= {name: _defined(value) for name, value in figures.items()}
    return row | {"real_count": len(group.rows) - fakes, "fake_count": fakes}


def _mean_row(
    groups: Sequence[Group], columns: Sequence[str], fake: npt.NDArray[np.bool_], figures: Sequence[Mapping[str, float]]
) -> Row:
    """The unweighted mean over groups, without figures that are not defined; the counts are of distinct samples."""
    seen = {name: np.zeros(len(fake), bool) for name in {group.degradation for group in groups}}
    for group in groups:
        seen[group.degradation][group.rows] = True
    counts = {
        "count": sum(int(np.count_nonzero(rows)) for rows in seen.values()),
        "real_count": sum(int(np.count_nonzero(rows & ~fake)) for rows in seen.values()),
        "fake_count": sum(int(np.count_nonzero(rows & fake)) for rows in seen.values()),
    }
    mean: Row = {"group": "mean", "count": counts["count"]}
    mean |= {name: _defined(_mean_of(figures, name)) for name in METRICS}
    undefined = {name: sum(math.isnan(found[name]) for found in figures) for name in METRICS}
    mean |= {name: counts[name] for name in COUNTS if name != "count"}
    return mean | {"groups": len(groups), "undefined": {name: count for name, count in undefined.items() if count}}


def _mean_of(figures: Sequence[Mapping[str, float]], name: str) -> float:
    values = [found[name] for found in figures if not math.isnan(found[name])]
    return math.fsum(values) / len(values) if values else math.nan


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value


def _add_intervals(
    rows: Sequence[Row], mean: Row, groups: Sequence[Group], samples: int, resamples: int, seed: int
) -> None:
    """Put `intervals` into the rows: {figure: (low, high)}, None where a resample never defines it.

    Samples are drawn with replacement from all of the dataset, so a real that several groups share, or a sample under
    several degradations, comes equally often in all of them.
    """
    chance = np.random.Generator(np.random.Philox(seed))
    drawn = np.empty((len(groups) + 1, resamples, len(METRICS)))
    for number in range(resamples):
        times = np.bincount(chance.integers(0, samples, samples), minlength=samples)
        figures = [group.curve.measure(times[group.rows]) for group in groups]
        for place, found in enumerate(figures):
            drawn[place, number] = [found[name] for name in METRICS]
        drawn[-1, number] = [_mean_of(figures, name) for name in METRICS]
    for row, values in zip([*rows, mean], drawn, strict=True):
        row["intervals"] = {
            name: _interval(values[:, place]) for place, name in enumerate(METRICS) if row[name] is not None
        }


def _interval(values: Floats) -> tuple[float, float] | None:
    defined = values[~np.isnan(values)]
    if not len(defined):
        return None
    low, high = np.percentile(defined, _PERCENTILES)
    return float(low), float(high)


def _notes(
    dataset: Dataset, groups: Sequence[Group], columns: Sequence[str], missing: Mapping[str, int], gathered: bool
) -> Iterator[str]:
    """What a reader of the table has to know, in sentences."""
    for name, count in missing.items():
        if count:
            of = f" under {name}" if "degradation" in columns else ""
            note = f"Made of a part: {count:,} of {len(dataset):,} samples{of} have no score."
            if not gathered:
                warnings.warn(f"{note} gather() brings together the scores of all ranks", stacklevel=4)
            yield note
    named = [place for place, name in enumerate(columns) if name != "degradation"]
    pooled = sorted({", ".join(str(group.key[i]) for i in named) for group in groups if group.reals_from_pool})
    if pooled:
        has = "has no reals of its own: its reals are" if len(pooled) == 1 else "have no reals of their own: theirs are"
        yield f'{"; ".join(pooled)} {has} those of the pool "{REAL_POOL}".'
