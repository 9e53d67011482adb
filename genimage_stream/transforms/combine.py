"""Steps made of steps: with a probability, one of several, in random order, for some samples; and Python functions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from itertools import permutations
from typing import Any

import numpy as np

from genimage_stream.transforms import values
from genimage_stream.transforms.chance import Streams
from genimage_stream.transforms.many import Many, Places
from genimage_stream.transforms.step import (
    Draw,
    Hook,
    Image,
    Operation,
    Planned,
    Sample,
    Size,
    Step,
    check_given,
)
from genimage_stream.vocabulary import LABELS


def _steps(step: Step, name: str, given: Any) -> tuple[Step, ...]:
    """A step or a list of steps, as a tuple."""
    found = (given,) if isinstance(given, Step) else tuple(given) if isinstance(given, (list, tuple)) else ()
    if not found or not all(isinstance(entry, Step) for entry in found):
        raise step.wrong(name, given, "a step, or a list of at least one, is needed")
    return found


Sizes = frozenset[Size] | None


def _one_after_the_other(steps: Sequence[Step], sizes: Sizes) -> Sizes:
    for step in steps:
        sizes = step.sizes_after(sizes)
    return sizes


def _either(*sizes: Sizes) -> Sizes:
    found: frozenset[Size] = frozenset()
    for one in sizes:
        if one is None:
            return None
        found |= one
    return found


class _Combined(Step):
    """Chooses which of its steps run, and in which order."""

    @abstractmethod
    def select(self, sample: Sample, place: int) -> dict[str, Any]:
        """What is drawn besides the inner steps' values."""

    def run_order(self, draw: Draw) -> Sequence[int]:
        """The inner steps that run, by their place among `inner`."""
        return range(len(self.inner))

    @abstractmethod
    def select_many(self, many: Many, place: int, which: Places) -> Iterator[tuple[int, Places]]:
        """As `select`, for the samples `which`: inner steps, by their place among `inner`, in the order in which they
        run, and the samples that each runs for."""

    def plan_many(self, many: Many, place: int, which: Places) -> None:
        places = self._inner_places(place)
        for inner, samples in self.select_many(many, place, many.sound(which)):
            if len(samples):
                self.inner[inner].plan_many(many, places[inner], samples)

    def _streams(self, many: Many, place: int, which: Places) -> Streams:
        return many.chances.streams(type(self).__name__, many.ordinals[place], which)

    def _inner_places(self, place: int) -> list[int]:
        places = [place + 1]
        for step in self.inner:
            places.append(places[-1] + sum(1 for _ in step.walk()))
        return places

    def plan(self, sample: Sample, place: int, size: Size, given: Draw | None = None) -> Planned:
        name = type(self).__name__
        if given is None:
            draw: Draw = {"step": name, "applied": True, **self.select(sample, place)}
            inner_given: list[Draw | None] = []
        else:
            draw = dict(check_given(name, given))
            inner_given = list(given.get("inner", ()))
        if not draw["applied"]:
            return Planned(draw, [], size)
        order = list(self.run_order(draw))
        if given is not None and len(inner_given) != len(order):
            raise ValueError(f'the draw for {name} has {len(inner_given)} entries in "inner"; {len(order)} are needed')
        places = self._inner_places(place)
        operations: list[Operation] = []
        inner: list[Draw] = []
        for position, which in enumerate(order):
            known = inner_given[position] if inner_given else None
            planned = self.inner[which].plan(sample, places[which], size, known)
            operations += planned.operations
            inner.append(planned.draw)
            size = planned.size
        return Planned(draw | {"inner": inner}, operations, size)


@dataclass(frozen=True)
class RandomApply(_Combined):
    """All of `transforms` (a step, or a list of them), with probability `p`. Draws `inner`, where it is applied."""

    transforms: Step | Sequence[Step]
    p: float = 0.5

    def __post_init__(self) -> None:
        values.put(self, transforms=_steps(self, "transforms", self.transforms), p=values.probability(self, self.p))

    @property
    def inner(self) -> tuple[Step, ...]:
        return _steps(self, "transforms", self.transforms)

    def select(self, sample: Sample, place: int) -> dict[str, Any]:
        stream = sample.chance.stream("RandomApply", sample.ordinals[place])
        return {"applied": stream.happens(self.p)}

    def select_many(self, many: Many, place: int, which: Places) -> Iterator[tuple[int, Places]]:
        chosen = which[self._streams(many, place, which).happens(self.p)]
        return ((inner, chosen) for inner in range(len(self.inner)))

    def sizes_after(self, sizes: Sizes) -> Sizes:
        return _either(sizes, _one_after_the_other(self.inner, sizes))


@dataclass(frozen=True)
class RandomChoice(_Combined):
    """One of `transforms`, each as likely as the others, or by weights `p`. Draws `chosen` (its place), `inner`."""

    transforms: Step | Sequence[Step]
    p: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        values.put(self, transforms=_steps(self, "transforms", self.transforms))
        if self.p is not None:
            if not isinstance(self.p, (tuple, list)) or len(self.p) != len(self.inner):
                raise self.wrong("p", self.p, f"{len(self.inner)} weights are needed")
            weights = tuple(values.number(self, "p", weight, 0.0, 1e9) for weight in self.p)
            if sum(weights) <= 0:
                raise self.wrong("p", self.p, "at least one weight must be above 0")
            values.put(self, p=weights)

    @property
    def inner(self) -> tuple[Step, ...]:
        return _steps(self, "transforms", self.transforms)

    def select(self, sample: Sample, place: int) -> dict[str, Any]:
        stream = sample.chance.stream("RandomChoice", sample.ordinals[place])
        if self.p is None:
            return {"chosen": stream.below(len(self.inner))}
        left = stream.unit() * sum(self.p)
        last = max(i for i, weight in enumerate(self.p) if weight > 0)
        for chosen, weight in enumerate(self.p):
            left -= weight
            if left < 0 or chosen == last:
                return {"chosen": chosen}
        raise AssertionError("some weight is above 0")

    def run_order(self, draw: Draw) -> Sequence[int]:
        return (draw["chosen"],)

    def select_many(self, many: Many, place: int, which: Places) -> Iterator[tuple[int, Places]]:
        streams = self._streams(many, place, which)
        if self.p is None:
            chosen = streams.below(len(self.inner))
        else:
            left = streams.units() * sum(self.p)
            chosen = np.full(len(which), max(i for i, weight in enumerate(self.p) if weight > 0))
            for inner, weight in enumerate(self.p):
                left = left - weight
                chosen = np.where(left < 0, np.minimum(chosen, inner), chosen)
        return ((inner, which[chosen == inner]) for inner in range(len(self.inner)))

    def sizes_after(self, sizes: Sizes) -> Sizes:
        return _either(*(step.sizes_after(sizes) for step in self.inner))


@dataclass(frozen=True)
class RandomOrder(_Combined):
    """All of `transforms`, in random order. Draws `order`, their places, and `inner`, in that order."""

    transforms: Step | Sequence[Step]

    def __post_init__(self) -> None:
        values.put(self, transforms=_steps(self, "transforms", self.transforms))

    @property
    def inner(self) -> tuple[Step, ...]:
        return _steps(self, "transforms", self.transforms)

    def select(self, sample: Sample, place: int) -> dict[str, Any]:
        stream = sample.chance.stream("RandomOrder", sample.ordinals[place])
        return {"order": stream.order(len(self.inner))}

    def run_order(self, draw: Draw) -> Sequence[int]:
        order: list[int] = draw["order"]
        return order

    def select_many(self, many: Many, place: int, which: Places) -> Iterator[tuple[int, Places]]:
        count = len(self.inner)
        orders = self._streams(many, place, which).orders(count)
        return ((inner, which[orders[:, turn] == inner]) for turn in range(count) for inner in range(count))

    def sizes_after(self, sizes: Sizes) -> Sizes:
        if len(self.inner) > 5:  # 120 orders
            return None
        return _either(*(_one_after_the_other(order, sizes) for order in permutations(self.inner)))


@dataclass(frozen=True)
class OnlyIf(_Combined):
    """`step` for samples of a label ("real" or "fake") and of some generators (their subsets, reals included).

    Where both are given, both must hold. Draws `inner`, where it is applied.
    """

    step: Step
    label: str | None = None
    generators: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.step, Step):
            raise self.wrong("step", self.step, "a step is needed")
        if self.label is not None:
            values.one_of(self, "label", self.label, LABELS)
        if self.generators is not None:
            if isinstance(self.generators, str) or not all(isinstance(name, str) for name in self.generators):
                raise self.wrong("generators", self.generators, "a list of names is needed")
            values.put(self, generators=tuple(self.generators))

    @property
    def inner(self) -> tuple[Step, ...]:
        return (self.step,)

    def select(self, sample: Sample, place: int) -> dict[str, Any]:
        for asked, known, name in (
            (self.label, sample.label, "label"),
            (self.generators, sample.generator, "generator"),
        ):
            if asked is not None and known is None:
                raise ValueError(f"the sample's {name} is not known; pass {name}=...")
        label_holds = self.label is None or sample.label == self.label
        return {"applied": label_holds and (self.generators is None or sample.generator in self.generators)}

    def select_many(self, many: Many, place: int, which: Places) -> Iterator[tuple[int, Places]]:
        holds = np.ones(len(which), bool)
        if self.label is not None:
            holds &= np.array([name == self.label for name in many.label_names])[many.labels[which]]
        if self.generators is not None:
            holds &= np.array([name in self.generators for name in many.generator_names])[many.generators[which]]
        return iter([(0, which[holds])])

    def sizes_after(self, sizes: Sizes) -> Sizes:
        return _either(sizes, self.step.sizes_after(sizes))


@dataclass(frozen=True)
class Map(Step):
    """A Python function `function(image, rng)`: uint8 (h, w, 3) to the same shape, with a NumPy generator of its own.

    Two are equal when name, version and size are. The name is by default `module:qualified.name`; a lambda or an inner
    function needs one, and cannot be read back from JSON. `size`: (height, width) of what the function returns, where
    that is not the size of what it is given.
    """

    function: Callable[[Image, np.random.Generator], Image] = field(compare=False, repr=False)
    name: str | None = None
    version: int = 0
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.size is not None:
            values.put(self, size=values.sides(values.size(self, "size", self.size)))
        if not callable(self.function):
            raise self.wrong("function", self.function, "a function of an image and a generator is needed")
        if self.name is None:
            module, qualified = getattr(self.function, "__module__", None), getattr(self.function, "__qualname__", "<")
            if not module or "<" in qualified:
                raise self.wrong("name", None, "a lambda or an inner function needs a name")
            values.put(self, name=f"{module}:{qualified}")
        elif not isinstance(self.name, str) or not self.name:
            raise self.wrong("name", self.name, "a text is needed")
        values.put(self, version=values.whole(self, "version", self.version, 0))

    def plan(self, sample: Sample, place: int, size: Size, given: Draw | None = None) -> Planned:
        stream = sample.chance.stream("Map", sample.ordinals[place])
        draw: Draw = {"step": "Map", "applied": True, "key": stream.key()}
        if given is not None:
            draw = check_given("Map", given)
        if not draw["applied"]:
            return Planned(draw, [], size)
        key = int(draw["key"], 16)

        def call(image: Image) -> Image:
            found = self.function(image, np.random.Generator(np.random.Philox(key=key)))
            wanted = image.shape if self.size is None else (*self.size, 3)
            if not isinstance(found, np.ndarray) or found.dtype != np.uint8 or found.shape != wanted:
                got = f"{found.dtype} {found.shape}" if isinstance(found, np.ndarray) else type(found).__name__
                raise ValueError(f"{self.name} returned {got}; uint8 {wanted} is needed")
            return found

        result = None if self.size is None else Size(self.size[1], self.size[0])
        return Planned(draw, [Hook(self.name or "", call, result)], result or size)

    def sizes_after(self, sizes: Sizes) -> Sizes:
        return sizes if self.size is None else frozenset([Size(self.size[1], self.size[0])])

    @classmethod
    def from_json_fields(cls, arguments: dict[str, Any]) -> Step:
        name = arguments.get("name")
        module, _, qualified = str(name).partition(":")
        try:
            function: Any = import_module(module)
            for part in qualified.split("."):
                function = getattr(function, part)
        except (ImportError, AttributeError, ValueError):
            raise ValueError(
                f"Map {name!r} is no module:function that can be imported; construct it from the function"
            ) from None
        return cls(function, **arguments)
