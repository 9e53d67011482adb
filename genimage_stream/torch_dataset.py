"""The loader's batches as a torch IterableDataset, also with worker processes and torchdata's StatefulDataLoader."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from genimage_stream.batch import Batch

if TYPE_CHECKING:
    from genimage_stream.index import Dataset
    from genimage_stream.loader import Loader
    from genimage_stream.pipeline import Epoch

MAX_WORKERS = 1024


class LoaderDataset(IterableDataset[Batch]):
    """Batches; wrap it as `DataLoader(dataset, batch_size=None, ...)`, or torchdata's StatefulDataLoader.

    Worker i of n gives the steps i, i + n, i + 2n, ... of this rank, and DataLoader takes turns, so the batches and
    their order are those of the loader itself. Threads inside the process serve as well as workers; these are for code
    that wants a DataLoader. The decoder's threads are divided among the workers unless `threads` was given.

    Every pass over the DataLoader is the next epoch, with persistent workers and without.
    """

    def __init__(self, dataset: Dataset, arguments: dict[str, Any], epoch: int, start: int) -> None:
        self._dataset = dataset
        self._arguments = arguments
        self._first = (epoch, start)
        # Workers are new processes in every epoch, or the same in all: what they have to know lies in shared memory.
        self._epochs: torch.Tensor = torch.full((MAX_WORKERS,), epoch, dtype=torch.int64)
        self._epochs.share_memory_()  # type: ignore[no-untyped-call]
        self._loader: tuple[int, Loader] | None = None

    def loader(self) -> Loader:
        """This process's loader."""
        if self._loader is None or self._loader[0] != os.getpid():
            from genimage_stream.loader import Loader

            arguments = dict(self._arguments)
            if (info := get_worker_info()) is not None:
                arguments["pin_memory"] = False  # DataLoader pins in the main process
                if arguments["threads"] is None:
                    arguments["threads"] = max(1, len(os.sched_getaffinity(0)) // info.num_workers)
            self._loader = os.getpid(), Loader(self._dataset, **arguments)
        return self._loader[1]

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return len(self.loader())

    def set_epoch(self, epoch: int) -> None:
        """Make the next pass that epoch."""
        if epoch < 0:
            raise ValueError(f"epoch={epoch}: epochs count from 0")
        self._epochs.fill_(epoch)

    def __iter__(self) -> LoaderIterator:
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        if worker >= MAX_WORKERS:
            raise ValueError(f"{workers} workers: at most {MAX_WORKERS}")
        return LoaderIterator(self, worker, workers)

    def place(self, worker: int) -> tuple[int, int]:
        """The epoch that a worker begins next, and the place in it, counted over all ranks."""
        epoch = int(self._epochs[worker])
        return epoch, self._first[1] if epoch == self._first[0] else 0

    def next_epoch(self, worker: int, epoch: int) -> None:
        self._epochs[worker] = epoch

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_loader": None}


class LoaderIterator(Iterator[Batch]):
    """One worker's share of one epoch, which begins with the first batch that is asked for.

    `state_dict` and `load_state_dict` as StatefulDataLoader calls them.
    """

    def __init__(self, dataset: LoaderDataset, worker: int, workers: int) -> None:
        self._dataset = dataset
        self._worker, self._workers = worker, workers
        self._place: tuple[int, int] | None = None  # epoch and where in it it began, once that is settled
        self._given = 0
        self._running: Epoch | None = None

    def __next__(self) -> Batch:
        if self._running is None:
            from genimage_stream.pipeline import Progress

            self._place = self._place or self._dataset.place(self._worker)
            self._dataset.next_epoch(self._worker, self._place[0] + 1)
            first = self._worker + self._given * self._workers
            self._running = self._dataset.loader().begin(Progress(*self._place), first, self._workers)
        batch = next(self._running)
        self._given += 1
        return batch

    def state_dict(self) -> dict[str, Any]:
        """Where this worker stands: its epoch, where that began, and how many batches it has given."""
        epoch, start = self._place or self._dataset.place(self._worker)
        state = {"epoch": epoch, "start": start, "given": self._given, "workers": self._workers}
        return state | {"order": self._dataset.loader().identity()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on there. Raises ValueError for the state of another dataset, order, or number of workers."""
        mine = self._dataset.loader().identity()
        if state["order"] != mine or state["workers"] != self._workers:
            raise ValueError(
                f"the state belongs to another run: {state['order']} with {state['workers']} workers, "
                f"here {mine} with {self._workers}"
            )
        self._place, self._given = (int(state["epoch"]), int(state["start"])), int(state["given"])
        self._running = None
        self._dataset.next_epoch(self._worker, self._place[0] + 1)
