"""The loader's batches as a torch IterableDataset, also with worker processes and torchdata's StatefulDataLoader."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from torch.utils.data import IterableDataset, get_worker_info

from genimage_stream.dataset.dataset import Dataset
from genimage_stream.loading import accelerator
from genimage_stream.loading.batch import Batch
from genimage_stream.loading.company import Company
from genimage_stream.loading.engine import Engine
from genimage_stream.loading.epoch import Epoch
from genimage_stream.loading.options import LoaderOptions, epoch_number
from genimage_stream.loading.passes import Passes, PassKey
from genimage_stream.loading.schedule import Place, Placement, Progress, group_placement
from genimage_stream.resources import cores_of_rank

_STATE = ("epoch", "start", "given", "position", "workers", "batch_size", "world_size", "order")


class LoaderDataset(IterableDataset[Batch]):
    """Batches; wrap it as `DataLoader(dataset, batch_size=None, ...)`, or torchdata's StatefulDataLoader.

    Worker i of n gives the steps i, i + n, i + 2n, ... of this rank, and DataLoader takes turns, so the batches and
    their order are those of the loader itself. Threads inside the process serve as well as workers; these are for code
    that wants a DataLoader. The decoder's threads are divided among the workers unless `threads` was given.

    Every pass over the DataLoader is the next epoch, the same in all its workers, persistent or not. The rank is that
    of the process group when a pass begins or its workers start, unless the loader was given one.
    """

    def __init__(self, dataset: Dataset, options: LoaderOptions, placement: Placement, begin: Place) -> None:
        self._dataset = dataset
        self._options = options
        self._placement = placement
        self.passes = Passes(*begin)
        self._begun: tuple[int, int] = (-1, 0)  # the workers' seed, and how many passes this process began with it
        self._engine: tuple[int, Placement, Engine] | None = None

    def placement(self) -> Placement:
        """That of this process. Workers that are no forks know no process group: they keep what the dataset brought."""
        if self._options.rank is None:
            self._placement = group_placement() or self._placement
        return self._placement

    def engine(self) -> Engine:
        """This process's engine."""
        placement = self.placement()
        if self._engine is None or self._engine[:2] != (os.getpid(), placement):
            pin_memory, threads = self._options.pin_memory, self._options.threads
            if (info := get_worker_info()) is not None:
                pin_memory = False  # DataLoader pins in the main process
                threads = threads or max(1, cores_of_rank() // info.num_workers)
            options = replace(
                self._options,
                rank=placement.rank,
                world_size=placement.world_size,
                pin_memory=pin_memory,
                threads=threads,
            )
            self._engine = os.getpid(), placement, Engine(self._dataset.access, options)
        return self._engine[2]

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return len(self.engine().schedule.steps())

    def set_epoch(self, epoch: int) -> None:
        """Make the next pass that epoch. A place inside it stays, as with `Loader.set_epoch`."""
        self.passes.set_epoch(epoch_number(epoch))

    def __iter__(self) -> LoaderIterator:
        accelerator.know_batches(Batch)
        self._refuse_to_be_divided()
        info = get_worker_info()
        if info is None:
            return LoaderIterator(self, 0, 1, None)
        seed = info.seed - info.id
        self._begun = (seed, self._begun[1] + 1 if self._begun[0] == seed else 1)
        return LoaderIterator(self, info.id, info.num_workers, PassKey(*self._begun))

    def _refuse_to_be_divided(self) -> None:
        if self.placement().world_size > 1 and accelerator.dispatches(self):
            raise RuntimeError(
                "accelerate's prepare made a DataLoader that divides the batches of one rank among all ranks, so the "
                "samples of the other ranks would be missing: prepare the gs.Loader itself, or iterate the DataLoader "
                "as it is"
            )

    def __getstate__(self) -> dict[str, Any]:
        self._refuse_to_be_divided()  # on its way to a worker
        return {**self.__dict__, "_engine": None, "_placement": self.placement()}


class LoaderIterator(Iterator[Batch]):
    """One worker's share of one epoch, which begins with the first batch that is asked for. StatefulDataLoader calls
    `state_dict` and `load_state_dict`."""

    def __init__(self, dataset: LoaderDataset, worker: int, workers: int, key: PassKey | None) -> None:
        self._dataset = dataset
        self._worker, self._workers = worker, workers
        self._key = key
        self._place: Place | None = None  # where the epoch began, once that is settled
        self._given = 0
        self._running: Epoch | Company | None = None

    def __next__(self) -> Batch:
        if self._running is None:
            self._place = self._place or self._dataset.passes.begin(self._key)
            first = self._worker + self._given * self._workers
            self._running = self._dataset.engine().begin(Progress(*self._place), first, self._workers)
        batch = next(self._running)
        self._given += 1
        return batch

    def state_dict(self) -> dict[str, Any]:
        """How far this worker is: its epoch, where that began, and how many batches of which size it has given;
        `position`, the place in the order after these, if no other worker gives some."""
        epoch, start, shares = self._place or self._dataset.passes.look(self._key)
        engine = self._dataset.engine()
        shares = engine.schedule.shares(shares if start else 0)
        given = self._given if self._workers == 1 else 0
        return {
            "epoch": epoch,
            "start": start,
            "given": self._given,
            "position": engine.schedule.steps(start).bounds(given - 1)[1] if given else start,
            "workers": self._workers,
            "batch_size": engine.options.batch_size,
            "world_size": engine.schedule.placement().world_size,
            "order": engine.schedule.identity(),
            **({"shares": shares} if shares else {}),
            **engine.schedule.parts,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume there: with one process at any batch size and world size, with several workers at the same ones, since
        no worker knows how far the others are.

        Raises ValueError, naming what differs, for the state of another dataset, order or division into batches.
        """
        missing = [name for name in _STATE if name not in state]
        if missing:
            raise ValueError(f"the state has no {', '.join(missing)}: it is not the state of a loader's dataset")
        engine = self._dataset.engine()
        schedule = engine.schedule
        mine = {"workers": self._workers, "order": schedule.identity()}
        if state["workers"] > 1 or self._workers > 1:
            mine |= {"batch_size": engine.options.batch_size, "world_size": schedule.placement().world_size}
        other = [f"{name}: {state[name]}, here {value}" for name, value in mine.items() if state[name] != value]
        if other:
            which = schedule.differing_parts(state.get("parts"))
            raise ValueError(
                f"the state belongs to another run ({'; '.join(other)}){which}. Resuming with other batches or ranks "
                "needs at most one worker, or the loader's own state: loader.load_state_dict({**loader.state_dict(), "
                '"epoch": ..., "position": ...}), where the position counts samples over all ranks'
            )
        shares = schedule.shares_of(state)
        place, self._given = Place(int(state["epoch"]), int(state["start"]), shares), int(state["given"])
        if self._workers == 1:  # what one process has given is a place in the order, whatever the batches are
            place, self._given = Place(place.epoch, min(int(state["position"]), schedule.epoch_samples), shares), 0
        self._place = place
        self._running = None
        self._dataset.passes.set_next(place.epoch + 1, 0, forget=self._key)
