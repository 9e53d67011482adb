"""Many samples on their way through a list of steps: what the steps know of them, and what becomes of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from genimage_stream.decode import native

if TYPE_CHECKING:
    from genimage_stream.transforms.chance import Chances

Places = npt.NDArray[np.intp]  # of samples among the many
Sizes = npt.NDArray[np.int64]  # (n, 2): (width, height)


@dataclass
class Many:
    """n samples. `labels` and `generators` are codes (n,) of the names given.

    `sizes` changes from step to step, `steps` grows: it holds each sample's steps of the core. A sample that a step
    cannot take is in `failed`, and no further step looks at it.
    """

    chances: Chances
    sizes: Sizes
    labels: npt.NDArray[np.int64]
    label_names: Sequence[str]
    generators: npt.NDArray[np.int64]
    generator_names: Sequence[str]
    ordinals: tuple[int, ...]  # by a step's place in the list, inner steps counted
    steps: list[list[native.Step]] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)
    splits: npt.NDArray[np.int64] | None = None  # codes (n,) of the names
    split_names: Sequence[str] = ()
    step: str = ""  # the step at hand, for messages

    def __post_init__(self) -> None:
        self.sizes = self.sizes.copy()
        self.steps = [[] for _ in range(len(self.sizes))]

    def split_of(self, which: int) -> str | None:
        """The name of a sample's split, where splits are known."""
        return None if self.splits is None else self.split_names[self.splits[which]]

    def sound(self, which: Places) -> Places:
        """Those that have not failed."""
        if not self.failed:
            return which
        return np.array([i for i in which.tolist() if i not in self.failed], np.intp)

    def put(self, which: Places, made: Iterable[Any], sizes: Sizes | None) -> None:
        """Add what a step made for each, a step of the core or several, and the sizes after it."""
        for i, one in zip(which.tolist(), made, strict=True):
            if isinstance(one, native.Step):
                self.steps[i].append(one)
            else:
                self.steps[i].extend(one)
        if sizes is not None:
            self.sizes[which] = sizes

    def fail(self, which: int, reason: object) -> None:
        self.failed[which] = f"{self.step}: {reason}"
        self.steps[which] = [native.failing_step(self.failed[which])]
