"""A dataset of the kind that torch calls map-style: `dataset[i]` is a pair of image and label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from genimage_stream.arguments import WrongKindError, whole
from genimage_stream.decode import decode
from genimage_stream.transforms.apply import apply
from genimage_stream.transforms.step import Step
from genimage_stream.vocabulary import LABELS

if TYPE_CHECKING:
    from genimage_stream.dataset.access import Access

Transform = Callable[[Any], Any] | Sequence[Step] | None


class MapStyle:
    """Pairs (image, label) by place; label 0 is real, 1 is fake. Pickles, so worker processes may have it.

    A loader is several times as fast: this is for code that needs a sample by its place.
    """

    def __init__(self, access: Access, transform: Transform = None, seed: int = 0) -> None:
        self._steps: list[Step] | None = None
        if isinstance(transform, (list, tuple)) and all(isinstance(step, Step) for step in transform):
            self._steps = list(transform)
        elif transform is not None and (not callable(transform) or isinstance(transform, Step)):
            raise WrongKindError(
                f"transform={transform!r}: a function of a Pillow image, or a list of steps of "
                "genimage_stream.transforms, is needed"
            )
        self._transform: Any = transform
        self._access = access
        self._seed = whole("seed", seed, 0)
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Steps draw other values in another epoch."""
        self._epoch = whole("epoch", epoch, 0)

    def __len__(self) -> int:
        return len(self._access)

    def __getitem__(self, i: int) -> tuple[Any, int]:
        access = self._access
        row = int(access.rows[place(i, len(access))])
        columns = access.columns
        data = access.read(row)
        label = int(access.label_numbers()[columns.words("label")[0][row]])
        steps = [*access.steps, *(self._steps or ())]
        if not steps:
            return self._finished(decode(data)), label
        (sha256,) = columns.part("sha256", np.array([row])).to_pylist()
        (generator_codes, generators), (split_codes, splits) = columns.words("generator"), columns.words("split")
        image = apply(
            data,
            steps,
            seed=self._seed,
            epoch=self._epoch,
            sha256=sha256,
            label=LABELS[label],
            generator=generators[generator_codes[row]],
            split=splits[split_codes[row]],
        )
        return self._finished(image), label

    def _finished(self, image: Any) -> Any:
        """After a transform that is a function."""
        return image if self._steps is not None or self._transform is None else self._transform(_as_pillow(image))

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_access": (self._access.reopen, self._access.chosen, self._access.steps)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        reopen, chosen, steps = state["_access"]
        vars(self).update(state, _access=replace(reopen(), chosen=chosen, steps=steps))


def place(i: Any, length: int) -> int:
    """A place from 0 on, for one that may count from the end. Raises IndexError outside, TypeError for no number."""
    row = whole("place", i, -(1 << 62))
    if not -length <= row < length:
        raise IndexError(f"there is no sample {row}: the dataset has {length}")
    return row % length


def _as_pillow(image: Any) -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "a transform function gets Pillow images: pip install pillow, or pass a list of our steps"
        ) from error
    return Image.fromarray(image)
