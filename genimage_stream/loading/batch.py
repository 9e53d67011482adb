"""What a loader yields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

_FIELDS = ("images", "labels", "generators", "rows", "epoch", "step")


class Batch:
    """n samples. `images` (n, 3, height, width); `labels` int64 (n,), 0 real, 1 fake; `generators` int64 (n,), 0 real,
    1 + index in `dataset.generators` for a fake; `rows` int64 (n,), rows in the index; `keys`, the samples' names;
    `epoch` and `step`, both from 0.

    A batch does not change as long as it, or a part of it, is held.
    """

    __slots__ = ("_keys", "epoch", "generators", "images", "labels", "rows", "step")

    def __init__(
        self,
        *,
        images: torch.Tensor,
        labels: torch.Tensor,
        generators: torch.Tensor,
        rows: torch.Tensor,
        keys: list[str] | Callable[[], list[str]],
        epoch: int,
        step: int,
    ) -> None:
        self.images = images
        self.labels = labels
        self.generators = generators
        self.rows = rows
        self.epoch = epoch
        self.step = step
        self._keys = keys  # or a function that reads them: few consumers need them

    @property
    def keys(self) -> list[str]:
        """The samples' keys, in the batch's order."""
        if callable(self._keys):
            self._keys = self._keys()
        return self._keys

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.images.shape))
        return f"Batch({shape} {self.images.dtype}, epoch {self.epoch}, step {self.step})"

    def to(self, device: Any, *, non_blocking: bool = False) -> Batch:
        """The batch with its tensors on a device. Lightning and accelerate call this."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self, _device: Any = None) -> Batch:
        """The batch with its tensors in page-locked memory. A DataLoader calls this."""
        return self._map(lambda tensor: tensor if tensor.is_pinned() else tensor.pin_memory())

    def _map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        return Batch(
            images=change(self.images),
            labels=change(self.labels),
            generators=change(self.generators),
            rows=change(self.rows),
            keys=self._keys,
            epoch=self.epoch,
            step=self.step,
        )

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("keys", *_FIELDS)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._keys = state["keys"]
        for name in _FIELDS:
            setattr(self, name, state[name])
