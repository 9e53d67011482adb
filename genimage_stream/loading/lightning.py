"""A callback that keeps loaders' places in Lightning's checkpoints.

Lightning restores the state of a dataloader while it sets it up, and only if that comes after the checkpoint's loops
are loaded. `trainer.estimated_stepping_batches` sets it up before, and the epoch begins anew. It also counts an epoch
that max_steps stopped as a whole one. So this callback has a record of its own.

Lightning finds it by an entry point (see pyproject.toml); nothing has to be added where this package is installed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genimage_stream.loading.loader import Loader

RECORD = "genimage_stream"  # its name in a checkpoint


def lightning_callback(package: str | None = None) -> Any:
    """A callback for `Trainer(callbacks=[...])`, which keeps the loaders' places in checkpoints where the entry point
    does not. `package`: "lightning.pytorch" or "pytorch_lightning", by default the one that is imported. Raises
    ImportError when there is none."""
    names = (
        [package] if package else sorted(["lightning.pytorch", "pytorch_lightning"], key=lambda n: n not in sys.modules)
    )
    for name in names:
        try:
            base = import_module(name).Callback
        except ImportError:
            continue
        return type("LoaderPlaces", (_LoaderPlaces, base), {})()
    raise ImportError("gs.lightning_callback() needs Lightning: pip install lightning")


def for_lightning() -> list[Any]:
    """The entry point of the package `lightning`."""
    return [lightning_callback("lightning.pytorch")]


def for_pytorch_lightning() -> list[Any]:
    """The entry point of the package `pytorch_lightning`."""
    return [lightning_callback("pytorch_lightning")]


class _LoaderPlaces:
    """`inside`: the trainer's epoch was not over, so what is left of the loaders' epochs belongs to it."""

    def __init__(self) -> None:
        self._found: dict[str, Any] | None = None
        self._stopped: list[Loader] = []

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        if loaders := list(_loaders(trainer.train_dataloader)):
            checkpoint[RECORD] = _record(trainer, loaders)

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        self._found, self._stopped = checkpoint.get(RECORD), []

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        found, stopped = self._found, self._stopped
        self._found, self._stopped = None, []
        loaders = list(_loaders(trainer.train_dataloader))
        if found is None or (stopped and [*map(id, stopped)] != [*map(id, loaders)]):
            return
        if len(loaders) != len(found["loaders"]):
            raise ValueError(
                f"the checkpoint is of a training with {len(found['loaders'])} loaders, this one has {len(loaders)}: "
                "give the trainer the same ones"
            )
        for loader, state in zip(loaders, found["loaders"], strict=True):
            loader.load_state_dict(state)
            if not found["inside"]:
                loader._end_epoch()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """The same trainer may be told to go on."""
        loaders = list(_loaders(trainer.train_dataloader))
        record = _record(trainer, loaders)
        if loaders and record["inside"]:
            self._found, self._stopped = record, loaders


def _record(trainer: Any, loaders: list[Loader]) -> dict[str, Any]:
    taken = trainer.fit_loop.epoch_loop.batch_progress.current.ready
    return {
        "inside": bool(taken < trainer.num_training_batches),
        "loaders": [loader.state_dict() for loader in loaders],
    }


def _loaders(found: Any) -> Iterator[Loader]:
    """The loaders of this package in any collection."""
    module = sys.modules.get("genimage_stream.loading.loader")
    if module is None:
        return
    if isinstance(found, module.Loader):
        yield found
    elif isinstance(found, Mapping):
        for one in found.values():
            yield from _loaders(one)
    elif isinstance(found, (list, tuple)):
        for one in found:
            yield from _loaders(one)
