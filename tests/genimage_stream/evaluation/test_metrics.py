"""The figures of a group beside scikit-learn's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    recall_score,
    roc_auc_score,
    roc_curve,
)

from genimage_stream.evaluation.metrics import METRICS, Curve


def reference(fake: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> dict[str, float]:
    """All but the best threshold, by scikit-learn."""
    called = scores > 0.5
    fpr, tpr, _ = roc_curve(fake, scores, sample_weight=weights, drop_intermediate=False)
    thresholds = [-1.0, *np.unique(scores)]
    # The place where fpr + tpr = 1, on the line between the two points around it.
    excess = fpr + tpr - 1
    after = int(np.flatnonzero(excess >= 0)[0])
    share = -excess[after - 1] / (excess[after] - excess[after - 1])
    return {
        "accuracy": accuracy_score(fake, called, sample_weight=weights),
        "real_accuracy": recall_score(fake, called, pos_label=False, sample_weight=weights),
        "fake_accuracy": recall_score(fake, called, pos_label=True, sample_weight=weights),
        "balanced_accuracy": balanced_accuracy_score(fake, called, sample_weight=weights),
        "ap": average_precision_score(fake, scores, sample_weight=weights),
        "auc": roc_auc_score(fake, scores, sample_weight=weights),
        "best_accuracy": max(accuracy_score(fake, scores > t, sample_weight=weights) for t in thresholds),
        "eer": fpr[after - 1] + share * (fpr[after] - fpr[after - 1]),
        "tpr_at_5_fpr": tpr[fpr <= 0.05].max(),
        "tpr_at_10_fpr": tpr[fpr <= 0.10].max(),
    }


@pytest.mark.parametrize("digits", [1, 2, 16])  # few digits: many ties
@pytest.mark.parametrize("n", [3, 20, 100, 400])
def test_equal_scikit_learn(n: int, digits: int) -> None:
    rng = np.random.default_rng(n * 100 + digits)
    for _ in range(10 if n < 100 else 3):  # scikit-learn is asked for each threshold
        fake = rng.random(n) < rng.uniform(0.2, 0.8)
        fake[:2] = False, True
        scores = np.round(np.clip(rng.normal(0.45 + 0.1 * fake, 0.2), 0, 1), digits)
        weights = rng.integers(0, 4, n)
        weights[:2] = 1
        for given in (None, weights):
            found = Curve(fake, scores).measure(given)
            assert tuple(found) == METRICS
            for name, value in reference(fake, scores, given).items():
                assert found[name] == pytest.approx(value, abs=1e-12), name
            best = accuracy_score(fake, scores > found["best_threshold"], sample_weight=given)
            assert best == pytest.approx(found["best_accuracy"], abs=1e-12)


def test_one_half_is_real_and_strictly_more_is_fake() -> None:
    fake = np.array([False, True, True])
    found = Curve(fake, np.array([0.5, 0.5, np.nextafter(0.5, 1)])).measure()
    assert (found["real_accuracy"], found["fake_accuracy"], found["accuracy"]) == (1.0, 0.5, pytest.approx(2 / 3))
    assert found["best_threshold"] == 0.5


@pytest.mark.parametrize("scores", [[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0], [0.2, 0.2], [0.5, 0.5]])
@pytest.mark.parametrize("fake", [[False, True], [True, True], [False, False]])
def test_the_best_threshold_at_the_ends_of_the_scale(scores: list[float], fake: list[bool]) -> None:
    found = Curve(np.array(fake), np.array(scores)).measure()
    assert math.isfinite(found["best_threshold"])
    assert accuracy_score(fake, np.array(scores) > found["best_threshold"]) == found["best_accuracy"]


def test_neighbouring_numbers_have_a_threshold_between_them() -> None:
    scores = np.array([0.7, np.nextafter(0.7, 1)])
    found = Curve(np.array([False, True]), scores).measure()
    assert found["best_accuracy"] == 1.0
    assert (scores > found["best_threshold"]).tolist() == [False, True]


@pytest.mark.parametrize(
    ("fake", "defined"),
    [
        ([True, True], {"accuracy", "fake_accuracy", "best_threshold", "best_accuracy"}),
        ([False, False], {"accuracy", "real_accuracy", "best_threshold", "best_accuracy"}),
        ([], set()),
    ],
)
def test_what_one_label_alone_does_not_define_is_nan(fake: list[bool], defined: set[str]) -> None:
    found = Curve(np.array(fake, bool), np.linspace(0.4, 0.9, len(fake))).measure()
    assert {name for name, value in found.items() if not math.isnan(value)} == defined
