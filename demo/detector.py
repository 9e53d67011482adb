"""A small convolutional detector, trained on the stream and evaluated generator by generator."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

import genimage_stream as gs
from genimage_stream.transforms import JPEG, RandomCrop
from genimage_stream.transforms.step import Step

BATCH_SIZE = 64
CROP = 224
TIME_LIMIT_SECONDS = 60.0
EPOCHS = 6
#: As in GenImage, fakes are PNGs and reals JPEGs: unless all are compressed alike, a detector learns the file format.
STEPS = (RandomCrop(CROP, pad="tile"), JPEG(quality=(70, 95)))
#: What a fake goes through for the control: it becomes a JPEG as the reals are, before anything else.
AS_REALS = (JPEG(quality=95), *STEPS)


class Detector(nn.Module):
    """A residual of the image, four strided convolutions, the mean over all places: (n, 3, h, w) to (n,) logits."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, 16), (16, 32), (32, 48), (48, 64)):
            layers += [nn.Conv2d(inputs, outputs, 5 if inputs == 3 else 3, stride=2, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(64, 1)

    def forward(self, images: Tensor) -> Tensor:
        # What a photograph shows says nothing about its origin: only what differs from the neighbourhood goes in.
        residual = images - functional.avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)
        logits: Tensor = self.head(self.features(residual * 4).mean((2, 3)))
        return logits.squeeze(1)


class Training(NamedTuple):
    """What training was: for the line that says so."""

    images: int
    epochs: int
    seconds: float
    loss: float  # of the last epoch


class Score(NamedTuple):
    """One generator's val subset: every sample seen exactly once."""

    generator: str
    samples: int
    accuracy: float
    average_precision: float


def train(dataset: gs.Dataset, epochs: int = EPOCHS) -> tuple[Detector, Training]:
    """Train on the train split of all generators; stops at the time limit."""
    torch.manual_seed(0)
    model = Detector()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    train = dataset.select(splits=["train"])
    loader = gs.Loader(train, batch_size=BATCH_SIZE, transform=STEPS, seed=0, output="float32")
    start, images, epoch, losses = time.perf_counter(), 0, 0, [float("nan")]
    for epoch in range(1, epochs + 1):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * (1 - (epoch - 1) / epochs)
        losses = []
        for batch in loader:
            loss = functional.binary_cross_entropy_with_logits(model(batch.images), batch.labels.float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            images += len(batch.labels)
        if time.perf_counter() - start > TIME_LIMIT_SECONDS * epoch / (epoch + 1):
            break  # one epoch more would not end in time
    return model, Training(images, epoch, time.perf_counter() - start, sum(losses) / len(losses))


@torch.no_grad()
def evaluate(model: Detector, dataset: gs.Dataset) -> list[Score]:
    """Accuracy and average precision on the val split of each generator."""
    model.eval()
    scores = []
    for generator in dataset.generators:
        val = dataset.select(generators=[generator], splits=["val"])
        if not len(val):
            continue
        score, label, keys = predict(model, val, STEPS)
        if len(keys) != len(val) or len(set(keys)) != len(val):
            raise SystemExit(
                f"demo: {generator}/val gave {len(keys)} samples, {len(set(keys))} different, of {len(val)}"
            )
        accuracy = ((score > 0) == (label == 1)).float().mean().item()
        scores.append(Score(generator, len(val), accuracy, average_precision(score, label)))
    return scores


#: Some of the degradations of GenImage's robustness test.
DEGRADATIONS = ("none", "jpeg:65", "blur:3", "lowres:112")


@torch.no_grad()
def robustness(model: Detector, dataset: gs.Dataset) -> str:
    """The table by generator and by degradation: accuracies on the val split, in Markdown."""
    model.eval()
    val = dataset.select(splits=["val"])
    scores = gs.Scores(val)
    for name in DEGRADATIONS:
        loader = gs.Loader(
            val,
            BATCH_SIZE,
            transform=STEPS,
            degrade=name,
            shuffle=False,
            seed=0,
            output="float32",
            normalize="imagenet",
        )
        for batch in loader:
            scores.add(batch, model(batch.images), logits=True, degradation=name)
    tables = [scores.only([name]).gather().table() for name in DEGRADATIONS]
    lines = [f"| generator | {' | '.join(DEGRADATIONS)} |", "|---" + "|---:" * len(tables) + "|"]
    for rows in zip(*(table.rows for table in tables), strict=True):
        lines.append(f"| {rows[0]['group']} | " + " | ".join(f"{row['accuracy']:.3f}" for row in rows) + " |")
    means = [table.mean["accuracy"] for table in tables]
    return "\n".join([*lines, "| mean | " + " | ".join(f"{mean:.3f}" for mean in means) + " |"])


@torch.no_grad()
def control(model: Detector, dataset: gs.Dataset) -> tuple[float, float]:
    """Shares of the val split's fakes classified as fake: as they are, and when they are JPEGs as the reals are."""
    model.eval()
    fakes = dataset.select(splits=["val"], labels=["fake"])
    plain, as_reals = (predict(model, fakes, steps)[0] for steps in (STEPS, AS_REALS))
    return (plain > 0).float().mean().item(), (as_reals > 0).float().mean().item()


def predict(model: Detector, dataset: gs.Dataset, steps: Sequence[Step]) -> tuple[Tensor, Tensor, list[str]]:
    """Logits, labels and keys of all samples in the index's order."""
    logits, labels, keys = [], [], []
    loader = gs.Loader(dataset, batch_size=BATCH_SIZE, transform=steps, shuffle=False, seed=0, output="float32")
    for batch in loader:
        logits.append(model(batch.images))
        labels.append(batch.labels)
        keys += batch.keys
    return torch.cat(logits), torch.cat(labels), keys


def average_precision(scores: Tensor, labels: Tensor) -> float:
    """Mean of the precision at the rank of each positive, (n,) scores, (n,) labels of 0 and 1."""
    ranked = labels[torch.argsort(scores, descending=True, stable=True)].double()
    precision = ranked.cumsum(0) / torch.arange(1, len(ranked) + 1)
    return float((precision * ranked).sum() / ranked.sum())
