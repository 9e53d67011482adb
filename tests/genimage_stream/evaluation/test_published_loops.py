"""Evaluation loops in the form of published repositories, on the loader without an adapter, beside the table.

Written anew: the `validate` of NPR and UnivFD (lists of labels and scores, scikit-learn), and the `evaluate` of SAFE (a
logger around the loader, `batch[0]` and `batch[-1]`, running means).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import genimage_stream as gs
from tests.fixtures.shards import make_dataset

metrics = pytest.importorskip("sklearn.metrics")

DEVICE = torch.device("cpu")


class Detector(nn.Module):
    """Some rule that is neither always right nor always wrong, with one logit or two."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.scale = nn.Parameter(torch.tensor(3.0))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logit = self.scale * (images.mean((1, 2, 3)) - images[:, :, ::2, ::2].mean((1, 2, 3)) * 1.02)[:, None] * 20
        return logit if self.outputs == 1 else torch.cat([torch.zeros_like(logit), logit], 1)


@pytest.fixture(scope="module")
def subset(tmp_path_factory: pytest.TempPathFactory) -> gs.Dataset:
    root = make_dataset(tmp_path_factory.mktemp("dataset"), 9)
    return gs.open_dataset(root).select(splits=["val"], generators=["sd14"])


def loader_of(subset: gs.Dataset) -> gs.Loader:
    return gs.Loader(subset, 4, crop=40, shuffle=False, output="float32")


def row_of(subset: gs.Dataset) -> dict[str, Any]:
    scores = gs.Scores(subset)
    model = Detector(1).to(DEVICE).eval()
    with torch.inference_mode():
        for batch in loader_of(subset):
            scores.add(batch, model(batch.images).sigmoid())
    return scores.gather().table().row("sd14")


def test_in_the_form_of_npr(subset: gs.Dataset) -> None:
    def validate(model: nn.Module, data_loader: Iterable[Any]) -> tuple[float, ...]:
        y_true: list[float] = []
        y_pred: list[float] = []
        with torch.no_grad():
            for img, label in data_loader:
                in_tens = img.to(DEVICE)
                y_pred.extend(model(in_tens).sigmoid().flatten().tolist())
                y_true.extend(label.flatten().tolist())
        true, pred = np.array(y_true), np.array(y_pred)
        real, fake = true == 0, true == 1
        return (
            metrics.accuracy_score(true, pred > 0.5),
            metrics.average_precision_score(true, pred),
            metrics.accuracy_score(true[real], pred[real] > 0.5),
            metrics.accuracy_score(true[fake], pred[fake] > 0.5),
        )

    model = Detector(1).to(DEVICE)
    model.eval()
    row = row_of(subset)
    assert 0 < row["accuracy"] < 1
    wanted = [row[name] for name in ("accuracy", "ap", "real_accuracy", "fake_accuracy")]
    assert validate(model, loader_of(subset)) == pytest.approx(wanted)


def test_in_the_form_of_univfd(subset: gs.Dataset) -> None:
    """With the threshold that is best on the very scores, and accuracies there."""

    def validate(model: nn.Module, loader: Iterable[Any]) -> tuple[float, float, float]:
        with torch.no_grad():
            y_true, y_pred = [], []
            for img, label in loader:
                y_pred.extend(model(img.to(DEVICE)).sigmoid().flatten().tolist())
                y_true.extend(label.flatten().tolist())
        true, pred = np.array(y_true), np.array(y_pred)
        best = max(float(((pred > threshold) == true).mean()) for threshold in [*pred, 0.5])
        return metrics.average_precision_score(true, pred), float(((pred > 0.5) == true).mean()), best

    row = row_of(subset)
    found = validate(Detector(1).to(DEVICE).eval(), loader_of(subset))
    assert found == pytest.approx([row["ap"], row["accuracy"], row["best_accuracy"]])


def test_in_the_form_of_safe(subset: gs.Dataset) -> None:
    class Logger:
        """Prints every few batches, and needs the number of batches for that."""

        def __init__(self) -> None:
            self.lines: list[str] = []
            self.totals: dict[str, tuple[float, int]] = {}

        def update(self, name: str, value: float, n: int) -> None:
            total, count = self.totals.get(name, (0.0, 0))
            self.totals[name] = total + value * n, count + n

        def log_every(self, iterable: Any, every: int) -> Iterator[Any]:
            for number, item in enumerate(iterable):
                yield item
                if number % every == 0 or number == len(iterable) - 1:
                    self.lines.append(f"[{number}/{len(iterable)}]")

    @torch.no_grad()
    def evaluate(data_loader: Any, model: nn.Module, logger: Logger) -> tuple[float, float, float]:
        criterion = nn.CrossEntropyLoss()
        model.eval()
        labels, predictions = [], []
        for batch in logger.log_every(data_loader, 2):
            images, target = batch[0], batch[-1]
            images = images.to(DEVICE, non_blocking=True)
            target = target.to(DEVICE, non_blocking=True)
            output = model(images)
            if isinstance(output, dict):
                output = output["logits"]
            logger.update("loss", criterion(output, target).item(), images.shape[0])
            right = (output.argmax(1) == target).float().mean()
            logger.update("acc1", right.item(), images.shape[0])
            predictions.append(output.softmax(1)[:, 1])
            labels.append(target)
        y_pred, y_true = torch.cat(predictions).numpy(), torch.cat(labels).numpy()
        total, count = logger.totals["acc1"]
        return (
            total / count,
            metrics.accuracy_score(y_true, y_pred > 0.5),
            metrics.average_precision_score(y_true, y_pred),
        )

    logger, loader, row = Logger(), loader_of(subset), row_of(subset)
    found = evaluate(loader, Detector(2).to(DEVICE), logger)
    assert found == pytest.approx([row["accuracy"], row["accuracy"], row["ap"]])
    assert logger.lines[-1] == f"[{len(loader) - 1}/{len(loader)}]"
    assert logger.totals["loss"][1] == len(subset)


def test_whole_images_one_at_a_time(subset: gs.Dataset, tmp_path: Path) -> None:
    """As CNNDetection's --no_crop: batches of one image of any size."""
    y_true, y_pred = [], []
    model = Detector(1).eval()
    with torch.no_grad():
        for img, label in gs.Loader(subset, 1, views="whole", output="float32"):
            y_pred.extend(model(img.to(DEVICE)).sigmoid().flatten().tolist())
            y_true.extend(label.flatten().tolist())
    assert len(y_true) == len(subset)
    assert 0 < metrics.average_precision_score(y_true, y_pred) <= 1
