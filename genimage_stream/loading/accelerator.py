"""What accelerate knows of the loader that is being iterated: whether the batch at hand is the last one of its epoch,
and, over a DataLoader, how large a batch is.

`accumulate()` ends a group of steps there, and `gather_for_metrics` looks for padding to drop. DataLoaders that
`prepare` has wrapped enter themselves into accelerate's GradientState; a loader, which it leaves as it is, does so
here.
"""

from __future__ import annotations

import sys
from collections.abc import Sized
from typing import Any


class EpochUnderWay:
    """An epoch, as accelerate looks at it. `remainder`: samples of padding, never any."""

    remainder = 0

    def __init__(self, state: Any) -> None:
        self.end_of_dataloader = False
        self._state = state
        state._add_dataloader(self)

    def end(self) -> None:
        if self in self._state.dataloader_references:
            self._state._remove_dataloader(self)


def enter() -> EpochUnderWay | None:
    """Tell accelerate, where a script uses it, that an epoch begins."""
    module = sys.modules.get("accelerate.state")
    if module is None or not module.GradientState._shared_state:
        return None
    return EpochUnderWay(module.GradientState())


def dispatches(dataset: Any) -> bool:
    """Whether accelerate is iterating a DataLoader of this dataset that reads in one process for all of them."""
    module = sys.modules.get("accelerate.state")
    if module is None or not module.GradientState._shared_state:
        return False
    references = module.GradientState().dataloader_references
    return any(type(one).__name__ == "DataLoaderDispatcher" and one.dataset is dataset for one in references)


def know_batches(kind: type[Sized]) -> None:
    """Let accelerate know the size of such batches: of a DataLoader's it knows those of tensors, lists and mappings."""
    module: Any = sys.modules.get("accelerate.data_loader")
    if module is None or getattr(module.find_batch_size, "knows", None) is kind:
        return
    theirs = module.find_batch_size

    def find_batch_size(data: Any) -> Any:
        return len(data) if isinstance(data, kind) else theirs(data)

    find_batch_size.knows = kind  # type: ignore[attr-defined]
    module.find_batch_size = find_batch_size
