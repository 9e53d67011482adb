"""What all steps of a transform have in common: data that can be compared, printed and written as JSON.

A step is a frozen dataclass. `plan` draws its random values for one sample (or takes given ones) and turns them into
operations: steps of the C++ core, which are deterministic, and hooks, which are Python functions.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import Field, dataclass, fields
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from genimage_stream.decode import native
from genimage_stream.transforms.chance import Chance, Stream, Streams
from genimage_stream.transforms.many import Many, Places, Sizes

Image = npt.NDArray[np.uint8]
#: What was drawn for a step: JSON-able; "step" is the class's name, "applied" is always there.
Draw = dict[str, Any]


class Size(NamedTuple):
    """Of an image in pixels."""

    width: int
    height: int


@dataclass(frozen=True)
class Hook:
    """A Python function among the operations: it is given an image and gives one of `size`, or of the same size."""

    name: str
    call: Callable[[Image], Image]
    size: Size | None = None


Operation = native.Step | Hook


@dataclass(frozen=True)
class Sample:
    """What steps may know of the sample: its chance, and what OnlyIf asks for."""

    chance: Chance
    ordinals: tuple[int, ...]  # by a step's place in the list, inner steps counted
    label: str | None = None
    generator: str | None = None
    split: str | None = None


class Planned(NamedTuple):
    """A step's part of the work on one sample."""

    draw: Draw
    operations: list[Operation]
    size: Size  # of the image after it


class ManyDrawn(NamedTuple):
    """A step's part of the work on many samples."""

    steps: Sequence[Any]  # of each sample a step of the core, or several
    sizes: Sizes | None = None  # None: unchanged


class Step(ABC):
    """A transform. Subclasses are frozen dataclasses, known by their class's name."""

    _kinds: ClassVar[dict[str, type[Step]]] = {}

    def __init_subclass__(cls) -> None:
        Step._kinds[cls.__name__] = cls

    @property
    def inner(self) -> tuple[Step, ...]:
        """The steps that this one consists of."""
        return ()

    def walk(self) -> Iterator[Step]:
        """This step and all inside of it, in the order of the list."""
        yield self
        for step in self.inner:
            yield from step.walk()

    @abstractmethod
    def plan(self, sample: Sample, place: int, size: Size, given: Draw | None = None) -> Planned:
        """Draw (unless the values are `given`) and turn it into operations. `place` counts inner steps."""

    def plan_many(self, many: Many, place: int, which: Places) -> None:
        """`plan` for the samples `which` of many: adds to their steps and changes their sizes."""
        for i in many.sound(which).tolist():
            sample = Sample(
                many.chances.of(i),
                many.ordinals,
                many.label_names[many.labels[i]],
                many.generator_names[many.generators[i]],
                many.split_of(i),
            )
            try:
                planned = self.plan(sample, place, Size(*many.sizes[i].tolist()))
            except ValueError as error:
                many.fail(i, error)
                continue
            many.steps[i] += [
                operation
                if isinstance(operation, native.Step)
                else native.hook_step(operation.call, many.step, operation.size)
                for operation in planned.operations
            ]
            many.sizes[i] = planned.size

    def sizes_after(self, sizes: frozenset[Size] | None) -> frozenset[Size] | None:
        """The sizes that images of these sizes may have after this step; None: any.

        Raises ValueError when it takes no image of some size.
        """
        return sizes

    def as_json(self) -> dict[str, Any]:
        """The step as JSON holds it: {its name: its arguments}."""
        arguments = {field.name: _plain(getattr(self, field.name)) for field in _fields(self)}
        return {type(self).__name__: arguments}

    @classmethod
    def from_json_fields(cls, arguments: dict[str, Any]) -> Step:
        """The step with these arguments. Raises TypeError or ValueError for others than it has."""
        return cls(**arguments)

    @property
    def acts_on_floats(self) -> bool:
        """Whether it acts on normalised values, and has to come last; all steps inside of it count."""
        return any(getattr(step, "after_normalize", False) for step in self.walk())

    def wrong(self, argument: str, value: object, wanted: str) -> ValueError:
        """The error for a value that cannot be."""
        return ValueError(f"{type(self).__name__}({argument}={value!r}): {wanted}")


class CoreStep(Step):
    """A step that the core carries out by itself."""

    def choose(self, stream: Stream, size: Size) -> dict[str, Any]:
        """The values to draw for an image of this size; {"applied": False} for a step that passes."""
        return {}

    @abstractmethod
    def operations(self, draw: Draw, size: Size) -> Sequence[Operation]:
        """What the core has to do, for these values."""

    def draw_many(self, streams: Streams, sizes: Sizes) -> ManyDrawn | None:
        """`choose` and `operations` for n images at once, with the same values; None: one image after the other."""
        return None

    def plan_many(self, many: Many, place: int, which: Places) -> None:
        which = many.sound(which)
        if len(which):
            streams = many.chances.streams(type(self).__name__, many.ordinals[place], which)
            drawn = self.draw_many(streams, many.sizes[which])
            if drawn is None:
                super().plan_many(many, place, which)
            else:
                many.put(which, drawn.steps, drawn.sizes)

    def plan(self, sample: Sample, place: int, size: Size, given: Draw | None = None) -> Planned:
        name = type(self).__name__
        if given is None:
            stream = sample.chance.stream(name, sample.ordinals[place])
            draw: Draw = {"step": name, "applied": True, **self.choose(stream, size)}
        else:
            draw = check_given(name, given)
        operations = list(self.operations(draw, size)) if draw["applied"] else []
        return Planned(draw, operations, size_after(operations, size))


def at_place(number: int, step: Step) -> str:
    """How messages name a step of a list."""
    return f"step {number} of the transform, {step!r}"


def check_given(name: str, given: Draw) -> Draw:
    """A draw that somebody passed in, for the step of that name."""
    if given.get("step") != name or not isinstance(given.get("applied"), bool):
        raise ValueError(f'the draw for {name} must have "step": "{name}" and "applied": true or false, not {given!r}')
    return given


def size_after(operations: Sequence[Operation], size: Size) -> Size:
    """Of the image after all operations."""
    for operation in operations:
        if isinstance(operation, native.Step):
            size = Size(*native.step_sizes([operation], *size)[-1])
        elif isinstance(operation, Hook):
            size = operation.size or size
    return size


def ordinals_of(steps: Sequence[Step]) -> tuple[int, ...]:
    """For each step, inner ones included: how many of its name come before it."""
    seen: dict[str, int] = {}
    ordinals = []
    for step in (inner for outer in steps for inner in outer.walk()):
        name = type(step).__name__
        ordinals.append(seen.get(name, 0))
        seen[name] = ordinals[-1] + 1
    return tuple(ordinals)


def to_json(steps: Sequence[Step]) -> str:
    """A list of steps as JSON."""
    return json.dumps([step.as_json() for step in steps])


def from_json(text: str) -> list[Step]:
    """The steps that `to_json` wrote. Raises ValueError for anything else.

    A `Map` is imported by its name, and importing a module runs it: read such JSON from people you trust only.
    """
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError("the JSON of a transform is nested too deeply") from None
    if not isinstance(found, list):
        raise ValueError("the JSON of a transform is a list of steps")
    return [_step_of(entry) for entry in found]


def _fields(step: Any) -> list[Field[Any]]:
    """The fields that make two steps equal; every subclass is a dataclass."""
    return [field for field in fields(step) if field.compare]


def _plain(value: Any) -> Any:
    if isinstance(value, Step):
        return value.as_json()
    return [_plain(entry) for entry in value] if isinstance(value, tuple) else value


def _step_of(entry: Any) -> Step:
    if not isinstance(entry, dict) or len(entry) != 1:
        raise ValueError(f"{entry!r} is no step")
    (name, arguments), *_ = entry.items()
    kind = Step._kinds.get(name)
    if kind is None or name.startswith("_") or not isinstance(arguments, dict):
        raise ValueError(f"{entry!r} is no step")
    given = {field: _valued(value) for field, value in arguments.items()}
    try:
        return kind.from_json_fields(given)
    except TypeError as error:
        raise ValueError(f"{entry!r} is no step: {error}") from None


def _valued(value: Any) -> Any:
    if isinstance(value, dict):
        return _step_of(value)
    return tuple(_valued(entry) for entry in value) if isinstance(value, list) else value
