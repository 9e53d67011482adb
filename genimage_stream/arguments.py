"""Argument validation: an error names the option, the value given and what is needed, before any work begins."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np


class WrongKindError(ValueError, TypeError):
    """A value of the wrong kind, e.g. 2.5 where a whole number is needed. `except ValueError` catches every bad option,
    as options often come from configuration files; `except TypeError` catches these, as elsewhere in Python."""


def whole(name: str, value: Any, lowest: int, otherwise: str = "", *, highest: int | None = None) -> int:
    """The value as an int; NumPy's whole numbers count, True and False do not. `otherwise` is appended to the error and
    says what else the option could be. Raises WrongKindError for no whole number, ValueError for one out of bounds."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        found = operator.index(value)
    except TypeError:
        raise WrongKindError(f"{name}={value!r}: a whole number is needed{otherwise}") from None
    if found < lowest:
        raise ValueError(f"{name}={value}: at least {lowest} is needed{otherwise}")
    if highest is not None and found > highest:
        raise ValueError(f"{name}={value}: at most {highest} is allowed{otherwise}")
    return found


def flag(name: str, value: Any) -> bool:
    """True or False. Raises WrongKindError for anything else: words like "no" would count as true."""
    if not isinstance(value, (bool, np.bool_)):
        raise WrongKindError(f"{name}={value!r} is not one of True, False")
    return bool(value)


def one_of(name: str, value: object, allowed: Sequence[object]) -> None:
    """Raises ValueError for a value that is not among the allowed ones."""
    if value not in allowed:
        raise ValueError(f"{name}={value!r} is not one of {', '.join(map(repr, allowed))}")


def names(option: str, value: Any) -> list[str]:
    """A list of names. Raises WrongKindError for a single string, which would be taken for a list of letters."""
    if isinstance(value, str):
        raise WrongKindError(f"{option}={value!r}: a list of names is needed, e.g. [{value!r}]")
    return list(value)
