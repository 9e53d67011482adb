"""Checks of what people pass: an error names the option, what it was and what is wanted, before any work begins."""

from __future__ import annotations

import operator
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from genimage_stream.order.plan import Shuffle

LAST_EPOCH = (1 << 32) - 1  # a sample's windows count epochs in 32 bits


#: CPUs left to DALI's own threads and to the one that takes the batches: the GPU has nothing to do while those wait.
CPUS_BESIDE_THE_CORE = 2


def default_threads(*, dali_on_gpu: bool) -> int:
    """One per CPU; beside DALI on a GPU CPUS_BESIDE_THE_CORE fewer."""
    cpus = len(os.sched_getaffinity(0))
    return max(1, cpus - CPUS_BESIDE_THE_CORE) if dali_on_gpu else cpus


def default_prefetch(threads: int, batch_size: int) -> int:
    """Batches decoded ahead: enough images in work that no thread runs dry while the consumer takes a batch."""
    return max(2, -(-4 * threads // batch_size) + 1)


def whole(name: str, value: Any, lowest: int, otherwise: str = "") -> int:
    """A whole number, NumPy's too, as a plain one. Raises ValueError when it is none, or below `lowest`; `otherwise`
    says what else the option could be."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        found = operator.index(value)
    except TypeError:
        raise ValueError(f"{name}={value!r}: a whole number is needed{otherwise}") from None
    if found < lowest:
        raise ValueError(f"{name}={value}: at least {lowest} is needed{otherwise}")
    return found


def epoch_number(value: Any) -> int:
    """The number of an epoch. Raises ValueError when it is none."""
    epoch = whole("epoch", value, -(1 << 64))
    if not 0 <= epoch <= LAST_EPOCH:
        raise ValueError(f"epoch={epoch}: epochs count from 0 to {LAST_EPOCH}")
    return epoch


def window_size(value: Any) -> tuple[int, int]:
    """(height, width) of a crop, which may be given as one side."""
    sides = value if isinstance(value, (tuple, list)) else (value, value)
    if len(sides) != 2:
        raise ValueError(f"crop={value!r}: one side, or (height, width), is needed")
    height, width = (whole("crop", side, 1, ", or (height, width)") for side in sides)
    return height, width


def order_name(shuffle: Any) -> Shuffle:
    """The order that `shuffle` stands for."""
    one_of("shuffle", shuffle, (True, False, "full", "shards"))
    if isinstance(shuffle, str):
        return "shards" if shuffle == "shards" else "full"
    return "full" if shuffle else "none"


def flag(name: str, value: Any) -> bool:
    """True or False; words like "no" would count as true."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name}={value!r} is not one of True, False")
    return bool(value)


def one_of(name: str, value: object, allowed: Sequence[object]) -> None:
    """Raises ValueError for another value."""
    if value not in allowed:
        raise ValueError(f"{name}={value!r} is not one of {', '.join(map(repr, allowed))}")


def names(option: str, value: Any) -> list[str]:
    """A list of names. Raises TypeError for one name alone, which would be taken for a list of letters."""
    if isinstance(value, str):
        raise TypeError(f"{option}={value!r}: a list of names is needed, as [{value!r}]")
    return list(value)
