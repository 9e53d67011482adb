"""The loader's batches as a torch IterableDataset, also with worker processes and torchdata's StatefulDataLoader."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from genimage_stream.arguments import epoch_number
from genimage_stream.loading.batch import Batch
from genimage_stream.loading.passes import Passes, PassKey, Place

if TYPE_CHECKING:
    from genimage_stream.dataset.dataset import Dataset
    from genimage_stream.loading.epoch import Epoch
    from genimage_stream.loading.loader import Loader

Placement = tuple[int, int]  # rank, world size

_STATE = ("epoch", "start", "given", "workers", "batch_size", "world_size", "order")


def group_placement() -> Placement | None:
    """(rank, world size) in the torch.distributed process group; None when there is none."""
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return None


class LoaderDataset(IterableDataset[Batch]):
    """Batches; wrap it as `DataLoader(dataset, batch_size=None, ...)`, or torchdata's StatefulDataLoader.

    Worker i of n gives the steps i, i + n, i + 2n, ... of this rank, and DataLoader takes turns, so the batches and
    their order are those of the loader itself. Threads inside the process serve as well as workers; these are for code
    that wants a DataLoader. The decoder's threads are divided among the workers unless `threads` was given.

    Every pass over the DataLoader is the next epoch, the same in all its workers, persistent or not. The rank is that
    of the process group when a pass begins or its workers start, unless the loader was given one.
    """

    def __init__(
        self, dataset: Dataset, arguments: dict[str, Any], placement: Placement, epoch: int, start: int
    ) -> None:
        self._dataset = dataset
        self._arguments = arguments
        self._placement = placement
        self.passes = Passes(epoch, start)
        self._begun: tuple[int, int] = (-1, 0)  # the workers' seed, and how many passes this process began with it
        self._loader: tuple[int, Placement, Loader] | None = None

    def placement(self) -> Placement:
        """(rank, world size). Workers that are no forks know no process group: they keep what the dataset brought."""
        if self._arguments["rank"] is None:
            self._placement = group_placement() or self._placement
        return self._placement

    def loader(self) -> Loader:
        """This process's loader."""
        placement = self.placement()
        if self._loader is None or self._loader[:2] != (os.getpid(), placement):
            from genimage_stream.loading.loader import Loader

            arguments = self._arguments | {"rank": placement[0], "world_size": placement[1]}
            if (info := get_worker_info()) is not None:
                arguments["pin_memory"] = False  # DataLoader pins in the main process
                if arguments["threads"] is None:
                    arguments["threads"] = max(1, len(os.sched_getaffinity(0)) // info.num_workers)
            self._loader = os.getpid(), placement, Loader(self._dataset, **arguments)
        return self._loader[2]

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return len(self.loader())

    def set_epoch(self, epoch: int) -> None:
        """Make the next pass that epoch. A place inside it stays, as with `Loader.set_epoch`."""
        self.passes.set_epoch(epoch_number(epoch))

    def __iter__(self) -> LoaderIterator:
        info = get_worker_info()
        if info is None:
            return LoaderIterator(self, 0, 1, None)
        seed = info.seed - info.id
        self._begun = (seed, self._begun[1] + 1 if self._begun[0] == seed else 1)
        return LoaderIterator(self, info.id, info.num_workers, PassKey(*self._begun))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_loader": None, "_placement": self.placement()}


class LoaderIterator(Iterator[Batch]):
    """One worker's share of one epoch, which begins with the first batch that is asked for.

    `state_dict` and `load_state_dict` as StatefulDataLoader calls them.
    """

    def __init__(self, dataset: LoaderDataset, worker: int, workers: int, key: PassKey | None) -> None:
        self._dataset = dataset
        self._worker, self._workers = worker, workers
        self._key = key
        self._place: Place | None = None  # where the epoch began, once that is settled
        self._given = 0
        self._running: Epoch | None = None

    def __next__(self) -> Batch:
        if self._running is None:
            from genimage_stream.loading.epoch import Progress

            self._place = self._place or self._dataset.passes.begin(self._key)
            first = self._worker + self._given * self._workers
            self._running = self._dataset.loader().begin(Progress(*self._place), first, self._workers)
        batch = next(self._running)
        self._given += 1
        return batch

    def state_dict(self) -> dict[str, Any]:
        """Where this worker stands: its epoch, where that began, and how many batches of what size it has given."""
        epoch, start = self._place or self._dataset.passes.look(self._key)
        loader = self._dataset.loader()
        return {
            "epoch": epoch,
            "start": start,
            "given": self._given,
            "workers": self._workers,
            "batch_size": loader.batch_size,
            "world_size": loader.placement()[1],
            "order": loader.identity(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on there: with one process at any batch size and world size, with several workers at the same ones, since
        none of them knows where the others stand.

        Raises ValueError, naming what differs, for the state of another dataset, order or division into batches.
        """
        missing = [name for name in _STATE if name not in state]
        if missing:
            raise ValueError(f"the state has no {', '.join(missing)}: it is not one of a loader's dataset")
        loader = self._dataset.loader()
        mine = {"workers": self._workers, "order": loader.identity()}
        if state["workers"] > 1 or self._workers > 1:
            mine |= {"batch_size": loader.batch_size, "world_size": loader.placement()[1]}
        other = [f"{name}: {state[name]}, here {value}" for name, value in mine.items() if state[name] != value]
        if other:
            raise ValueError(
                f"the state belongs to another run ({'; '.join(other)}). Going on with other batches or ranks needs at "
                "most one worker, or the loader's own state: loader.load_state_dict({**loader.state_dict(), "
                '"epoch": ..., "position": ...}), where the position counts samples over all ranks'
            )
        place, self._given = Place(int(state["epoch"]), int(state["start"])), int(state["given"])
        if self._workers == 1:  # what one process has given is a place in the order, whatever the batches are
            given = self._given * int(state["batch_size"]) * int(state["world_size"])
            place, self._given = Place(place.epoch, min(place.start + given, loader.epoch_samples)), 0
        self._place = place
        self._running = None
        self._dataset.passes.set_next(place.epoch + 1, 0, forget=self._key)
