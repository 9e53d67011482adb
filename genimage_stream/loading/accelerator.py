"""What accelerate knows of the loader that is being iterated: whether the batch at hand is the last one of its epoch.

`accumulate()` ends a group of steps there, and `gather_for_metrics` looks for padding to drop. DataLoaders that
`prepare` has wrapped enter themselves into accelerate's GradientState; a loader, which it leaves as it is, does so
here.
"""

from __future__ import annotations

import sys
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
