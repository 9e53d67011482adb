"""How well one property of the file alone, without a look at the picture, separates real from fake.

A detector that can see the property may learn it instead of the traces of the generator. Two rules are tried on each:

* one threshold ("wider than 512 pixels: fake"), for numbers;
* a look-up of each value ("PNG: fake"), whatever order the values have. For numbers that hardly ever repeat (bytes) the
  look-up is by ranges of equal content.

Accuracy is balanced (the mean of the shares of reals and of fakes classified correctly), so 50 % is chance whatever
the mix. A rule is found on one half of the samples and scored on the other, both ways round, or a look-up of values
that occur once would look perfect. AUC is the area under the ROC curve, of the number itself, or of the look-up's
score.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from genimage_stream.vocabulary import LABELS
from shard_tools.report.features import Feature, Values
from shard_tools.report.statistics import Mask, Samples

Counts = npt.NDArray[np.int64]  # (2 labels, 2 halves, values)

REAL, FAKE = 0, 1
FEWEST = 4  # of each label, or nothing can be said


@dataclass(frozen=True)
class Shortcut:
    """What one feature alone achieves. Accuracies are balanced, 0 to 1; NaN where a rule does not apply.

    `rule` is the better of the two in words; `reason`, when not empty, says why nothing could be computed.
    """

    feature: Feature
    threshold: float = float("nan")
    look_up: float = float("nan")
    auc: float = float("nan")
    rule: str = ""
    reason: str = ""

    @property
    def best(self) -> float:
        return float(np.fmax(self.threshold, self.look_up))


@dataclass(frozen=True)
class Coded:
    """A feature's values as codes: `distinct` (k,) rising, `codes` (samples,) places in it."""

    feature: Feature
    distinct: Values
    codes: npt.NDArray[np.int64]


def code(samples: Samples, feature: Feature) -> Coded:
    """Sort a feature's values once, so that every subset has only to count."""
    values = feature.values(samples)
    if not len(values):
        return Coded(feature, values, np.zeros(0, np.int64))
    low, high = np.min(values), np.max(values)
    if values.dtype.kind == "i" and high - low < 1 << 16:  # no need to sort
        return Coded(feature, np.arange(int(low), int(high) + 1), (values - low).astype(np.int64))
    distinct, codes = np.unique(values, return_inverse=True)
    return Coded(feature, cast("Values", distinct), codes)


def measure(samples: Samples, coded: Coded, rows: Mask | None = None) -> Shortcut:
    """The shortcut by one feature among the rows given (all by default)."""
    feature = coded.feature
    keep = feature.among(samples) if feature.among is not None else np.ones(samples.count, bool)
    if rows is not None:
        keep = keep & rows
    fake = samples.fake[keep]
    have = [int(len(fake) - fake.sum()), int(fake.sum())]
    if min(have) < FEWEST:
        what = "JPEGs" if feature.among is not None else "images"
        return Shortcut(feature, reason=f"too few to tell: {have[REAL]:,} real and {have[FAKE]:,} fake {what}")
    places, counts = count_values(coded.codes[keep], len(coded.distinct), fake, samples.half[keep])

    def write(place: int) -> str:
        return feature.write(samples, float(coded.distinct[places[place]]))

    levels = into_ranges(counts) if feature.ranges else counts
    threshold, edge, fake_above = best_threshold(counts) if feature.ordered else (float("nan"), 0, True)
    looked_up, score_auc = best_look_up(levels)
    if feature.ordered and not threshold < looked_up - 0.005:
        low, high = LABELS if fake_above else LABELS[::-1]
        rule = f"{low} up to {f'{write(edge)} {feature.unit}'.strip()}, {high} above"
    elif feature.ranges:
        rule = "by ranges of values"
    else:
        rule = words_of(counts, write)
    auc = value_auc(counts) if feature.ordered else score_auc
    return Shortcut(feature, threshold, looked_up, max(auc, 1 - auc), rule)


def count_values(
    codes: npt.NDArray[np.int64], distinct: int, fake: Mask, half: npt.NDArray[np.int8]
) -> tuple[npt.NDArray[np.int64], Counts]:
    """The codes that occur, rising, (k,) and how often each does per label and half, (2, 2, k)."""
    place = (fake * 2 + half).astype(np.int64) * distinct + codes
    counts = np.bincount(place, minlength=4 * distinct).reshape(4, distinct)
    there = np.flatnonzero(counts.sum(axis=0))
    return there, counts[:, there].reshape(2, 2, -1)


def into_ranges(counts: Counts, most: int = 256) -> Counts:
    """Neighbouring values joined into at most `most` ranges of about equal content, fewer for few samples."""
    content = counts.sum(axis=(0, 1))
    wanted = int(np.clip(np.sqrt(content.sum()), 4, most))
    before = np.cumsum(content) - content
    starts = np.flatnonzero(np.diff(before * wanted // content.sum(), prepend=-1))
    ranges: Counts = np.add.reduceat(counts, starts, axis=2)
    return ranges


def rates(counts: Counts, half: int | None = None) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Shares of the reals and of the fakes, of one half or of all, at each value, (k,) both."""
    part = (counts.sum(axis=1) if half is None else counts[:, half]).astype(np.float64)
    part /= np.maximum(part.sum(axis=1, keepdims=True), 1)
    return part[REAL], part[FAKE]


def best_threshold(counts: Counts) -> tuple[float, int, bool]:
    """(cross-scored accuracy, place of the last value below the cut on all samples, whether fakes lie above)."""
    scores = []
    for half in (0, 1):
        real, fake = rates(counts, half)
        place, above = cut(real, fake)
        other_real, other_fake = rates(counts, 1 - half)
        lead = other_real[: place + 1].sum() - other_fake[: place + 1].sum()
        scores.append(0.5 + 0.5 * (lead if above else -lead))
    place, above = cut(*rates(counts))
    return float(np.mean(scores)), place, above


def cut(real: npt.NDArray[np.float64], fake: npt.NDArray[np.float64]) -> tuple[int, bool]:
    """Where to cut to separate best, in the middle of equally good places, and whether fakes lie above."""
    lead = np.cumsum(real - fake)
    distance = np.abs(lead)
    best = np.flatnonzero(distance >= distance.max() - 1e-12)
    # Not across a gap: equally good places that do not touch are different cuts.
    run = best[: np.flatnonzero(np.diff(best, append=best[-1] + 2) > 1)[0] + 1]
    place = int(run[(len(run) - 1) // 2])
    return place, bool(lead[place] >= 0)


def best_look_up(counts: Counts) -> tuple[float, float]:
    """(cross-scored balanced accuracy, AUC) of the table value -> label.

    A value that the table does not have is answered as one for the label that has more values seen only once: the share
    of such values estimates how often new ones come (Good and Turing). Where both have as many it counts as a half.
    """
    accuracies, areas = [], []
    for half in (0, 1):
        real, fake = rates(counts, half)
        other_real, other_fake = rates(counts, 1 - half)
        seen = counts[:, half].sum(axis=0)
        new_real, new_fake = float(real[seen == 1].sum()), float(fake[seen == 1].sum())
        real, fake = np.where(seen, real, new_real), np.where(seen, fake, new_fake)
        says = np.sign(fake - real)
        accuracies.append(0.5 + 0.25 * float((says * (other_fake - other_real)).sum()))
        score = np.divide(fake, fake + real, out=np.full(len(fake), 0.5), where=fake + real > 0)
        _, group = np.unique(score, return_inverse=True)
        areas.append(area(sums(group, other_real), sums(group, other_fake)))
    return float(np.mean(accuracies)), float(np.mean(areas))


def sums(group: npt.NDArray[np.int64], weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.bincount(group, weights).astype(np.float64)


def value_auc(counts: Counts) -> float:
    """How often a fake has the larger value than a real; equal ones count as a half."""
    return area(*rates(counts))


def area(real: npt.NDArray[np.float64], fake: npt.NDArray[np.float64]) -> float:
    """Area under the ROC curve from the shares of both labels at rising values, (k,) each."""
    below = np.cumsum(real) - real
    return float((fake * (below + real / 2)).sum() / ((real.sum() * fake.sum()) or 1.0))


def words_of(counts: Counts, write: Callable[[int], str], most: int = 4) -> str:
    """The table value -> label in words: the values that speak most strongly for fake."""
    real, fake = rates(counts)
    lead = fake - real
    strong = [int(place) for place in np.argsort(-lead, kind="stable")[:most] if lead[place] > 0]
    if not strong:
        return "no value speaks for fake"
    more = int((lead > 0).sum()) - len(strong)
    values = " / ".join(write(place) for place in strong) + (f" and {more:,} more values" if more else "")
    return f"fake: {values}; all else real"
