"""One image through a list of steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from genimage_stream.decode import decode, native
from genimage_stream.transforms.chance import Chance, default_identity, identity_of
from genimage_stream.transforms.step import Draw, Hook, Image, Operation, Sample, Size, Step, at_place, ordinals_of


def apply(
    data_or_array: Any,
    steps: Sequence[Step],
    draws: Sequence[Draw] | None = None,
    seed: int = 0,
    epoch: int = 0,
    visit: int = 0,
    sha256: str | bytes | None = None,
    *,
    label: str | None = None,
    generator: str | None = None,
    split: str | None = None,
) -> Image:
    """Run an encoded image, or an array (h, w, 3) uint8, through `steps`: (h, w, 3) uint8.

    `draws` repeats what was drawn before, one entry per step; otherwise the values are drawn from (seed, epoch, visit,
    sha256), where `sha256` is by default that of the bytes passed in. `label` ("real", "fake") and `generator` are for
    OnlyIf, `split` ("train", "val") for JPEG("like reals"). Raises ValueError, naming the step and its place, when a
    step cannot take the image or its draw, acts on normalised values, or is a function that raises.
    """
    _check_list(steps)
    for number, step in enumerate(steps):
        if step.acts_on_floats:
            raise ValueError(
                f"step {number} of the transform, {step!r}: it acts on normalised values, and this image stays uint8"
            )
    image, sample = _prepared(data_or_array, steps, seed, epoch, visit, sha256, label, generator, split)
    return _run(image, _plan(steps, sample, Size(image.shape[1], image.shape[0]), draws)[1])


def draws_of(
    data_or_array: Any,
    steps: Sequence[Step],
    seed: int = 0,
    epoch: int = 0,
    visit: int = 0,
    sha256: str | bytes | None = None,
    *,
    label: str | None = None,
    generator: str | None = None,
    split: str | None = None,
) -> list[Draw]:
    """What `apply` draws with the same arguments: one JSON-able dict per step."""
    image, sample = _prepared(data_or_array, steps, seed, epoch, visit, sha256, label, generator, split)
    return _plan(steps, sample, Size(image.shape[1], image.shape[0]), None)[0]


def draws_for(
    steps: Sequence[Step],
    chance: Chance,
    size: Size,
    label: str | None,
    generator: str | None,
    split: str | None = None,
) -> list[Draw]:
    """`draws_of` for an image of that size, without its pixels."""
    return _plan(steps, Sample(chance, ordinals_of(steps), label, generator, split), size, None)[0]


def _check_list(steps: Any) -> None:
    if not isinstance(steps, (list, tuple)):
        raise TypeError(f"steps={steps!r}: a list of steps is needed, e.g. [T.RandomCrop(224)]")
    for place, step in enumerate(steps):
        if not isinstance(step, Step):
            raise TypeError(f"entry {place} of the transform is no step but {step!r}")


def _prepared(
    data: Any,
    steps: Sequence[Step],
    seed: int,
    epoch: int,
    visit: int,
    sha256: str | bytes | None,
    label: str | None,
    generator: str | None,
    split: str | None,
) -> tuple[Image, Sample]:
    _check_list(steps)
    if isinstance(data, np.ndarray):
        if data.dtype != np.uint8 or data.ndim != 3 or data.shape[2] != 3 or 0 in data.shape:
            raise ValueError(f"an image is uint8 (height, width, 3), not {data.dtype} {data.shape}")
        image = np.ascontiguousarray(data)
    else:
        image = decode(data)
    if sha256 is not None:
        identity = identity_of(sha256)
    else:
        identity = default_identity(image.tobytes() if isinstance(data, np.ndarray) else data)
    chance = Chance(seed, epoch, visit, identity)
    return image, Sample(chance, ordinals_of(steps), label, generator, split)


def _plan(
    steps: Sequence[Step], sample: Sample, size: Size, given: Sequence[Draw] | None
) -> tuple[list[Draw], list[Operation]]:
    if given is not None and len(given) != len(steps):
        raise ValueError(f"draws has {len(given)} entries for {len(steps)} steps")
    draws: list[Draw] = []
    operations: list[Operation] = []
    place = 0
    for number, step in enumerate(steps):
        try:
            planned = step.plan(sample, place, size, None if given is None else given[number])
        except (ValueError, KeyError, TypeError) as error:
            lacking = f"its draw lacks {error}" if isinstance(error, KeyError) else str(error)
            raise ValueError(f"{at_place(number, step)}: {lacking}") from error
        place += sum(1 for _ in step.walk())
        draws.append(planned.draw)
        operations += [
            replace(operation, call=_named(operation.call, number, step)) if isinstance(operation, Hook) else operation
            for operation in planned.operations
        ]
        size = planned.size
    return draws, operations


def _named(call: Callable[[Image], Image], number: int, step: Step) -> Callable[[Image], Image]:
    """The function of a hook, whose errors name the step and its place, as those in a loader do."""

    def named(image: Image) -> Image:
        try:
            return call(image)
        except Exception as error:
            raise ValueError(f"{at_place(number, step)}: {type(error).__name__}: {error}") from error

    return named


def _run(image: Image, operations: Sequence[Operation]) -> Image:
    """Stretches of core steps by the core, hooks in between."""
    stretch: list[native.Step] = []
    for operation in operations:
        if isinstance(operation, native.Step):
            stretch.append(operation)
            continue
        if stretch:
            image, stretch = native.run_steps(image, stretch, None), []
        image = np.ascontiguousarray(operation.call(image))
    return native.run_steps(image, stretch, None)
