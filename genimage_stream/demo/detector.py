"""A small detector, trained on the stream of the demo's shards and scored on their val split."""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn
from torch.nn import functional

from genimage_stream import transforms
from genimage_stream.dataset.dataset import Dataset
from genimage_stream.evaluation.scores import Scores
from genimage_stream.loading.loader import Loader

EPOCHS, BATCH = 8, 32
#: Fakes are PNGs and reals JPEGs: unless all are compressed alike, a detector learns the file format.
STEPS = (transforms.RandomCrop(128, pad="tile"), transforms.JPEG(quality=(70, 95)))


class Detector(nn.Module):
    """What differs from the neighbourhood, through three convolutions: (n, 3, h, w) to (n,) logits."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, 16), (16, 32), (32, 32)):
            layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(32, 1)

    def forward(self, images: Tensor) -> Tensor:
        residual = images - functional.avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)
        logits: Tensor = self.head(self.layers(4 * residual).mean((2, 3))).squeeze(1)
        return logits


def train(dataset: Dataset) -> tuple[Detector, int, float]:
    """Returns the detector, how many images it saw, and the seconds that took, loading included."""
    torch.manual_seed(0)
    model = Detector()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    loader = Loader(dataset, BATCH, transform=STEPS, output="float32", normalize="imagenet", seed=0)
    begun, seen = time.perf_counter(), 0
    for _ in range(EPOCHS):
        for images, labels in loader:
            loss = functional.binary_cross_entropy_with_logits(model(images), labels.float())
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            seen += len(labels)
    return model, seen, time.perf_counter() - begun


@torch.no_grad()
def score(model: Detector, dataset: Dataset) -> str:
    """Accuracy, AP and the like of each generator, as a table in Markdown."""
    model.eval()
    scores = Scores(dataset)
    for batch in Loader(dataset, BATCH, transform=STEPS, output="float32", normalize="imagenet", shuffle=False, seed=0):
        scores.add(batch, model(batch.images), logits=True)
    return scores.gather().table().markdown()
