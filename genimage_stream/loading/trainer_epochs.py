"""What trainers look for on a DataLoader: a sampler with `set_epoch`, and steps that can be skipped.

Lightning calls `set_epoch` with its own number before each of its epochs, after a checkpoint was loaded as well as in a
new run. One of its epochs need not be one of the loader's: of several loaders the shorter ones go on with their next
epoch inside it, and a run that max_steps stopped inside an epoch goes on there under the next number.

accelerate's `skip_first_batches` makes a DataLoader of a sampler, a dataset and a collate function. Here the sampler
gives steps, which are nothing but numbers until one is asked for, so that skipped batches are never loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol

from torch.utils.data import BatchSampler, SequentialSampler

from genimage_stream.dataset.dataset import Dataset

if TYPE_CHECKING:
    from genimage_stream.loading.batch import Batch


class _Loader(Protocol):
    """What this needs of a loader."""

    def _skip(self, steps: int) -> None: ...

    def _batches(self) -> Iterator[Batch]: ...

    def _steps_left(self) -> int: ...

    def _trainer_epoch(self, number: int) -> None: ...


class _Run:
    """The rest of an epoch, from the first step that is asked for."""

    def __init__(self, loader: _Loader) -> None:
        self._loader = loader
        self._batches: Iterator[Batch] | None = None

    def batch(self, step: int) -> Batch:
        if self._batches is None:
            self._loader._skip(step)
            self._batches = self._loader._batches()
        return next(self._batches)


class _Step(NamedTuple):
    run: _Run
    number: int


class LoaderSteps(BatchSampler):
    """The steps that the next `for` of a loader gives."""

    def __init__(self, loader: _Loader) -> None:
        self._loader = loader

    def __iter__(self) -> Iterator[_Step]:  # type: ignore[override]
        run = _Run(self._loader)
        return (_Step(run, number) for number in range(len(self)))

    def __len__(self) -> int:
        return self._loader._steps_left()

    def set_epoch(self, epoch: int) -> None:
        self._loader._trainer_epoch(epoch)


class StepsInOrder(LoaderSteps, SequentialSampler):  # type: ignore[misc]
    """Those of a loader that does not shuffle: what Lightning's overfit_batches takes. It refuses the others, whose
    batches differ from epoch to epoch."""


class LoadersDataset(Dataset):
    """The dataset of a loader, with which a DataLoader makes batches of steps."""

    def __getitems__(self, step: _Step) -> Batch:
        return step.run.batch(step.number)
