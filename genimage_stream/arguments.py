"""Argument validation: an error names the option, the value given and what is needed, before any work begins."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from typing import TypeVar

    from typing_extensions import ParamSpec

    P = ParamSpec("P")
    R = TypeVar("R")


class WrongKindError(ValueError, TypeError):
    """A value of the wrong kind, e.g. 2.5 where a whole number is needed. `except ValueError` catches every bad option,
    as options often come from configuration files; `except TypeError` catches these, as elsewhere in Python."""


def explains_unknown(what: str, others: Mapping[str, str]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorates a function that people pass arguments of other libraries to, or of its neighbours here: the TypeError
    for a keyword that it does not have says what to write instead, from `others`, or which one is spelled alike."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        known = frozenset(inspect.signature(function).parameters)

        @wraps(function)
        def checked(*args: P.args, **keywords: P.kwargs) -> R:
            for name in keywords:
                if name not in known:
                    from difflib import get_close_matches  # seldom needed

                    near = get_close_matches(name, known, 1)
                    remedy = others.get(name) or (f"did you mean {near[0]}=?" if near else "see its documentation")
                    raise TypeError(f"{what} has no argument {name}=: {remedy}")
            return function(*args, **keywords)

        return checked

    return decorate


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
