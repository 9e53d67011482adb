"""The epoch of each pass over a DataLoader, in shared memory, so that all workers of a pass agree.

Workers are new processes in every pass, or the same in all; their number may change, and one may be ended before its
first batch. So workers do not count epochs: the first worker of a pass that needs a batch takes the next epoch for the
pass, under a lock, and the others look it up.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import context
from typing import Any, NamedTuple

import torch

from genimage_stream.loading.schedule import Place

_SLOTS = 64  # passes remembered: those under way are needed, and one that was left while its workers still ran
_LOCK_SECONDS = 30.0  # it is held for microseconds


class PassKey(NamedTuple):
    """The same in all workers of one pass: their seed, which every DataLoader draws anew, and how many passes they have
    begun."""

    seed: int
    number: int


class Passes:
    """The next pass's place, and those of the passes begun so far."""

    def __init__(self, epoch: int, start: int, shares: int = 0) -> None:
        # Row 0: place of the next pass, passes begun, 0. The others: seed, number and place of a pass.
        self._rows = torch.full((1 + _SLOTS, 5), -1, dtype=torch.int64, device="cpu")
        self._rows.share_memory_()  # type: ignore[no-untyped-call]
        self._rows[0] = _row(epoch, start, shares, 0, 0)
        self._lock = _new_lock()

    def begin(self, key: PassKey | None) -> Place:
        """The place of a pass; the first worker that asks takes the next one for it. None: a pass of one process."""
        with self._locked():
            found = self._find(key)
            if found is None:
                found = self._next()
                taken = int(self._rows[0, 3])
                if key is not None:
                    self._rows[1 + taken % _SLOTS] = _row(*key, *found)
                self._rows[0] = _row(found.epoch + 1, 0, 0, taken + 1, 0)
        return found

    def look(self, key: PassKey | None) -> Place:
        """The place that `begin` would give."""
        with self._locked():
            return self._find(key) or self._next()

    def set_next(self, epoch: int, start: int, forget: PassKey | None = None) -> None:
        """Make the next pass begin there. `forget` the passes of these workers: a state brings its seed along, and
        with it a second pass of the same number."""
        with self._locked():
            self._rows[0, :3] = _row(epoch, start, 0)
            if forget is not None:
                self._rows[1:][self._rows[1:, 0] == forget.seed] = -1

    def set_epoch(self, epoch: int) -> None:
        """Make the next pass that epoch: all of it, or the rest of it where that comes next anyway."""
        with self._locked():
            if epoch != self._next().epoch:
                self._rows[0, :3] = _row(epoch, 0, 0)

    def begun(self) -> int:
        """How many passes have begun."""
        with self._locked():
            return int(self._rows[0, 3])

    def _next(self) -> Place:
        return Place(*self._rows[0, :3].tolist())

    def _find(self, key: PassKey | None) -> Place | None:
        if key is None:
            return None
        rows = self._rows[1:]
        found = rows[(rows[:, 0] == key.seed) & (rows[:, 1] == key.number)].tolist()
        return Place(*found[0][2:]) if found else None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if not self._lock.acquire(timeout=_LOCK_SECONDS):
            raise RuntimeError(
                "a worker was killed while it began an epoch: make a new dataset by loader.as_iterable_dataset()"
            )
        try:
            yield
        finally:
            self._lock.release()

    def __getstate__(self) -> dict[str, Any]:
        # Workers share lock and memory; any other copy, e.g. by copy.deepcopy, counts for itself.
        lock = None if context.get_spawning_popen() is None else self._lock
        return {"_rows": self._rows, "_lock": lock}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._rows = state["_rows"]
        if state["_lock"] is None:
            self._rows.share_memory_()  # type: ignore[no-untyped-call]
        self._lock = state["_lock"] or _new_lock()


def _row(*numbers: int) -> torch.Tensor:
    return torch.tensor(numbers, device="cpu")  # whatever torch.set_default_device says


def _new_lock() -> Any:
    # A lock of the start method spawn can be passed to workers of every start method, one of fork only to forks.
    return multiprocessing.get_context("spawn").Lock()
