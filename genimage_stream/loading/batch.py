"""What a loader yields."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from genimage_stream.arguments import whole
from genimage_stream.loading import accelerator
from genimage_stream.loading.show import Png, grid

_TENSORS = ("images", "labels", "generators", "subsets", "rows")
_FIELDS = (*_TENSORS, "view_of", "epoch", "step")
_ABOUT = ("degradations", "normalization")
_COMPANY = ("arrays", "pairs")


class Batch:
    """n samples. `images, labels = batch` works, and so do `batch[0]`, `batch[1]`, `batch[-1]` and `batch["images"]`.

    * `images` (n, 3, height, width), with v views (n, v, 3, height, width); `labels` int64 (n,), 0 real, 1 fake.
    * `generators` int64 (n,), 0 for every real, 1 + place in `dataset.generators` for a fake; `subsets` int64 (n,), the
      place in `dataset.generators` of a real too: whose reals they are.
    * `rows` int64 (n,), places in the loader's dataset: `dataset.table().take(batch.rows.numpy())` is the batch.
    * `view_of`: with views="all", where images are (sum of v, 3, height, width), int64 (sum of v,): the place in the
      batch of the sample that each shows. None otherwise.
    * `degradations`: with several of them their names, m of them, in the order of the images (n, m, 3, height, width).
    * `normalization`: (mean, std) of images that are floats.
    * `arrays`: those of the loader's `with_arrays`, {name: (n, ...)}; `batch["name"]` is one of them.
    * `pairs`: the batch of the loader's `pairs`, in the same order. None without them.
    * `keys`, the samples' names. `epoch` and `step` count from 0, `step` from the beginning of the epoch.

    `len(batch)` is n. A batch does not change as long as it, or a part of it, is held.
    """

    __slots__ = ("_keys", *_ABOUT, *_COMPANY, *_FIELDS)

    images: torch.Tensor
    labels: torch.Tensor
    generators: torch.Tensor
    subsets: torch.Tensor
    rows: torch.Tensor
    view_of: torch.Tensor | None
    epoch: int
    step: int
    degradations: tuple[str, ...] | None
    normalization: tuple[Sequence[float], Sequence[float]] | None
    arrays: dict[str, torch.Tensor]
    pairs: Batch | None

    def __init__(
        self,
        *,
        images: torch.Tensor,
        labels: torch.Tensor,
        generators: torch.Tensor,
        subsets: torch.Tensor,
        rows: torch.Tensor,
        keys: list[str] | Callable[[], list[str]],
        epoch: int,
        step: int,
        view_of: torch.Tensor | None = None,
        degradations: tuple[str, ...] | None = None,
        normalization: tuple[Sequence[float], Sequence[float]] | None = None,
        arrays: dict[str, torch.Tensor] | None = None,
        pairs: Batch | None = None,
    ) -> None:
        self.images = images
        self.labels = labels
        self.generators = generators
        self.subsets = subsets
        self.rows = rows
        self.view_of = view_of
        self.epoch = epoch
        self.step = step
        self.degradations = degradations
        self.normalization = normalization
        self.arrays = arrays or {}
        self.pairs = pairs
        self._keys = keys  # or a function that reads them: few consumers need them

    @property
    def keys(self) -> list[str]:
        """The samples' keys, in the batch's order."""
        if callable(self._keys):
            self._keys = self._keys()
        return self._keys

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    def __iter__(self) -> Iterator[torch.Tensor]:
        """The images, then the labels."""
        return iter((self.images, self.labels))

    def __getitem__(self, which: int | str) -> Any:
        """Of the pair (images, labels) by place, or anything by name, e.g. "labels" or "keys"."""
        if not isinstance(which, str):
            return (self.images, self.labels)[which]
        if which in self.arrays:
            return self.arrays[which]
        if which not in (names := (*_FIELDS, "keys", *_COMPANY)):
            raise KeyError(f"a batch has no {which!r}; it has {', '.join((*names, *self.arrays))}")
        return getattr(self, which)

    def as_dict(self) -> dict[str, Any]:
        """The tensors and keys by name, for trainers that want a dict; those of pairs as a dict "pairs"."""
        more = () if self.view_of is None else ("view_of",)
        pairs = {} if self.pairs is None else {"pairs": self.pairs.as_dict()}
        return {name: getattr(self, name) for name in (*_TENSORS, *more, "keys")} | self.arrays | pairs

    def show(self, most: int = 16, *, columns: int = 8) -> Png:
        """The first images as a PNG, un-normalised, each with its label and key; a notebook shows it.

        Blue is real, orange is fake. The views and degradations of a sample are side by side. Raises ImportError
        without Pillow, ValueError for an empty batch.
        """
        n = min(len(self.images), whole("most", most, 1))
        if not n:
            raise ValueError("the batch is empty: there is nothing to show")
        samples = list(range(n)) if self.view_of is None else self.view_of[:n].tolist()
        labels, keys = self.labels.tolist(), self.keys
        return grid(
            self.images[:n],
            [labels[i] for i in samples],
            [keys[i] for i in samples],
            self.normalization,
            whole("columns", columns, 1),
        )

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.images.shape))
        return f"Batch({shape} {self.images.dtype}, epoch {self.epoch}, step {self.step})"

    def to(self, device: Any, *, non_blocking: bool = False) -> Batch:
        """The batch with its tensors on a device. Lightning and accelerate call this."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def cuda(self, device: Any = None, *, non_blocking: bool = False) -> Batch:
        """The batch with its tensors on a GPU, by default the current one."""
        return self.to("cuda" if device is None else device, non_blocking=non_blocking)

    def pin_memory(self, _device: Any = None) -> Batch:
        """The batch with its tensors in page-locked memory. A DataLoader calls this."""
        return self._map(lambda tensor: tensor if tensor.is_pinned() else tensor.pin_memory())

    def _map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        parts: dict[str, Any] = {name: change(getattr(self, name)) for name in _TENSORS}
        parts |= {name: getattr(self, name) for name in ("epoch", "step", *_ABOUT)}
        parts["view_of"] = None if self.view_of is None else change(self.view_of)
        parts["arrays"] = {name: change(array) for name, array in self.arrays.items()}
        parts["pairs"] = None if self.pairs is None else self.pairs._map(change)
        return Batch(keys=self._keys, **parts)

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("keys", *_ABOUT, *_COMPANY, *_FIELDS)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        accelerator.know_batches(Batch)  # it may come from a worker of a DataLoader
        self._keys = state["keys"]
        for name in (*_ABOUT, *_COMPANY, *_FIELDS):
            setattr(self, name, state[name])
