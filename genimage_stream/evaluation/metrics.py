"""The figures of one group of scores, as scikit-learn computes them. Higher scores mean fake.

A weight per sample makes the same figures of a resample, without sorting again.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

THRESHOLD = 0.5  # a sample is called fake when its score is above it

#: Of a row of a table, in its order; nan where a figure is not defined, e.g. AP without fakes.
METRICS = (
    "accuracy",
    "real_accuracy",
    "fake_accuracy",
    "balanced_accuracy",
    "ap",
    "auc",
    "best_threshold",
    "best_accuracy",
    "eer",
    "tpr_at_5_fpr",
    "tpr_at_10_fpr",
)


class Curve:
    """Labels (n,) bool, True for fakes, and scores (n,) float64 of 0 to 1, sorted once."""

    def __init__(self, fake: npt.NDArray[np.bool_], scores: Floats) -> None:
        self._order = np.argsort(-scores, kind="stable")
        self._fake = fake[self._order]
        ordered = scores[self._order]
        # The last place of each distinct score, descending.
        self._ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)) if len(scores) else np.empty(0, int)
        self._distinct = ordered[self._ends]
        self._above = int(np.count_nonzero(self._distinct > THRESHOLD))  # distinct scores called fake

    def measure(self, weights: npt.NDArray[np.int64] | None = None) -> dict[str, float]:
        """All METRICS. `weights`: how often each sample counts, (n,); by default once."""
        if weights is None:
            ones = np.cumsum(self._fake, dtype=np.int64)
            called, true_fakes = self._ends + 1, ones[self._ends]
        else:
            ordered = weights[self._order]
            called = np.cumsum(ordered)[self._ends]
            true_fakes = np.cumsum(ordered * self._fake)[self._ends]
        # With none called fake first, then by falling threshold. Whole numbers: exact.
        hits = np.concatenate([[0], true_fakes]).astype(np.int64)
        alarms = np.concatenate([[0], called - true_fakes]).astype(np.int64)
        fakes, reals = int(hits[-1]), int(alarms[-1])
        figures = dict.fromkeys(METRICS, math.nan)
        if not fakes + reals:
            return figures
        right = hits + (reals - alarms)
        figures["accuracy"] = int(right[self._above]) / (fakes + reals)
        figures["best_threshold"], figures["best_accuracy"] = self._best(right / (fakes + reals))
        if reals:
            figures["real_accuracy"] = (reals - int(alarms[self._above])) / reals
        if fakes:
            figures["fake_accuracy"] = int(hits[self._above]) / fakes
        if fakes and reals:
            figures["balanced_accuracy"] = (figures["real_accuracy"] + figures["fake_accuracy"]) / 2
            precision = hits[1:] / np.maximum(hits[1:] + alarms[1:], 1)
            figures["ap"] = float(np.sum(np.diff(hits) / fakes * precision))
            area = np.sum(np.diff(alarms).astype(np.float64) * (hits[1:] + hits[:-1]))
            figures["auc"] = float(area / (2 * fakes * reals))
            tpr, fpr = hits / fakes, alarms / reals
            figures["eer"] = _equal_error(fpr, tpr)
            for rate in (5, 10):
                figures[f"tpr_at_{rate}_fpr"] = float(tpr[np.searchsorted(fpr, rate / 100, side="right") - 1])
        return figures

    def _best(self, accuracy: Floats) -> tuple[float, float]:
        """The threshold above which calling a score fake is right most often, and how often that is.

        A threshold is in the middle between two scores; 0.5 is preferred, then what is nearest to it.
        """
        best = np.flatnonzero(accuracy == np.max(accuracy))
        above = np.concatenate([[1.0], self._distinct])[best]  # the lowest score that is still called fake
        below = np.concatenate([self._distinct, [0.0]])[best]  # the highest that is not
        middle = below + (above - below) / 2
        middle = np.where(middle < above, middle, below)  # of neighbouring numbers, there is none between
        if best[0] == 0 and self._distinct[0] == 1.0:
            middle[0] = 1.0
        if best[-1] == len(self._distinct) and self._distinct[-1] == 0.0:
            middle[-1] = np.nextafter(0.0, -1.0)
        middle[best == self._above] = THRESHOLD
        return float(middle[np.argmin(np.abs(middle - THRESHOLD))]), float(np.max(accuracy))


def _equal_error(fpr: Floats, tpr: Floats) -> float:
    """Where the share of false alarms equals that of misses, linear between the points of the curve."""
    excess = fpr + tpr - 1  # rises from -1 to 1
    after = int(np.argmax(excess >= 0))
    share = -excess[after - 1] / (excess[after] - excess[after - 1])
    return float(fpr[after - 1] + share * (fpr[after] - fpr[after - 1]))
