"""A ResNet-50 training step in half precision, fed from a stream: how long the GPU is idle, waiting for data.

The host runs ahead of the GPU, and a loader hands over batches that are only queued yet: how long `next(batches)` takes
on the host's clock says nothing about either. So two events go into the training stream, one behind a step and one
behind taking the next batch: between them the GPU has nothing to do but to wait for that batch. Decoding on the same
GPU slows the steps themselves down as well; that shows beside the rate of the same steps on a batch that is there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from benchmarks.gpu.setting import Setting

_AHEAD = 2  # steps that the host runs ahead of the GPU, as one does that looks at its losses now and then


class Timeline(Protocol):
    """Marks in the order in which the device comes to them."""

    def mark(self) -> Any: ...

    def wait(self, mark: Any) -> None:
        """Until the device has come there."""

    def seconds(self, first: Any, second: Any) -> float:
        """Between two marks that the device has come to."""


class GpuTimeline:
    """CUDA events on the current stream."""

    def mark(self) -> Any:
        import torch

        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def wait(self, mark: Any) -> None:
        mark.synchronize()

    def seconds(self, first: Any, second: Any) -> float:
        return float(first.elapsed_time(second)) / 1000


class HostTimeline:
    """Without a GPU everything has happened when the call returns."""

    def mark(self) -> float:
        return time.perf_counter()

    def wait(self, mark: float) -> None:
        pass

    def seconds(self, first: float, second: float) -> float:
        return second - first


@dataclass(frozen=True)
class Steps:
    """`waiting`: the share of the time in which the device waited for a batch."""

    seconds: float
    waiting: float


def run(
    batches: Iterator[Any], step: Callable[[Any], object], timeline: Timeline, *, steps: int, settle: int = 5
) -> Steps:
    """`settle` steps, then `steps` measured ones."""
    idle: list[tuple[Any, Any]] = []
    for number in range(settle + steps):
        behind = timeline.mark()
        batch = next(batches)
        idle.append((behind, timeline.mark()))
        step(batch)
        if number >= _AHEAD:
            timeline.wait(idle[number - _AHEAD][1])
    end = timeline.mark()
    timeline.wait(end)
    measured = idle[settle:]
    seconds = timeline.seconds(measured[0][0], end)
    return Steps(seconds, sum(timeline.seconds(*pair) for pair in measured) / seconds)


def train(batches: Iterator[Any], setting: Setting, *, steps: int, settle: int = 10) -> dict[str, float]:
    """images_per_second from the stream and on one batch over and over (`alone`), and the share `waiting`."""
    import itertools

    import torch

    from benchmarks.resnet import resnet50

    torch.backends.cudnn.benchmark = True
    device = torch.device(setting.device)
    dtype = torch.float16 if setting.on_gpu else torch.float32
    model: Any = resnet50(2).to(device, dtype)
    model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), 1e-4)

    def step(batch: tuple[Any, Any]) -> None:
        images, labels = batch
        if setting.on_gpu and not labels.is_cuda:
            labels = labels.pin_memory().to(device, non_blocking=True)  # from other memory the host would wait here
        images = images.to(dtype, memory_format=torch.channels_last)
        loss = torch.nn.functional.cross_entropy(model(images).float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    timeline: Timeline = GpuTimeline() if setting.on_gpu else HostTimeline()
    images, labels = next(batches)
    alone = run(itertools.repeat((images.clone(), labels)), step, timeline, steps=steps, settle=settle)
    fed = run(batches, step, timeline, steps=steps, settle=settle)
    count = steps * setting.batch_size
    return {"images_per_second": count / fed.seconds, "alone": count / alone.seconds, "waiting": fed.waiting}
