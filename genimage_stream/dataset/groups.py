"""Samples in groups that share the values of some columns: what mixes, subsets and evaluation have in common."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from genimage_stream.order.mixing import EpochSize, Mix, Mixture, check_mix
from genimage_stream.vocabulary import LABELS, SPLITS, synsets

if TYPE_CHECKING:
    from genimage_stream.dataset.access import Access, Rows
    from genimage_stream.dataset.columns import IndexColumns

Groups = dict[tuple[Any, ...], npt.NDArray[np.int64]]

_WORDS = ("generator", "label", "split", "format", "synset")
_NUMBERS = ("class_index",)


def mixture_of(access: Access, mix: Mix, size: EpochSize = "all") -> Mixture:
    """A mix worked out for the selected samples. Raises ValueError for a rule that does not fit them."""
    check_mix(mix)
    try:
        groups = groups_of(access.columns, access.chosen, list(mix))
    except ValueError as error:
        raise ValueError(f"mix={dict(mix)!r}: {error}") from None
    for column, rule in mix.items():
        if isinstance(rule, Mapping):
            _check_values(access, column, rule)
    return Mixture(groups, mix, size)


def groups_of(columns: IndexColumns, chosen: Rows | None, by: Sequence[str]) -> Groups:
    """Chosen rows of the index, None for all of them, by their values in some columns; each group's rows rise.

    Raises ValueError for a column that does not make groups, or a chosen sample without a value in it.
    """
    rows = slice(None) if chosen is None else chosen
    codes: list[npt.NDArray[Any]] = []
    names: list[list[str] | None] = []
    for column in by:
        if column in _WORDS:
            code, values = columns.words(column)
            codes.append(code[rows])
            names.append(values)
        elif column in _NUMBERS:
            codes.append(columns.native(column)[0][rows])
            names.append(None)
        else:
            raise ValueError(f"groups cannot be by {column!r}; they can be by {', '.join((*_WORDS, *_NUMBERS))}")
        if (codes[-1] < 0).any():
            raise ValueError(
                f"groups are by {column}, but {int((codes[-1] < 0).sum())} of the selected samples have none: "
                "select the others"
            )
    sizes = [int(code.max()) + 1 for code in codes]
    # Numbers of 16 bits are sorted in one pass, which for millions of rows is most of the time.
    small = np.uint16 if math.prod(sizes) <= 1 << 16 else np.int64
    flat: npt.NDArray[Any] = codes[0].astype(small)
    for code, size in zip(codes[1:], sizes[1:], strict=True):
        flat = flat * small(size) + code.astype(small)
    by_group = np.argsort(flat, kind="stable")
    counts = np.bincount(flat, minlength=1)
    distinct = np.flatnonzero(counts)
    ordered = by_group if chosen is None else chosen[by_group]
    parts = np.split(ordered, np.cumsum(counts[distinct])[:-1])
    keys = zip(*np.unravel_index(distinct, sizes), strict=True)
    return {
        tuple(int(k) if name is None else name[k] for k, name in zip(key, names, strict=True)): part
        for key, part in zip(keys, parts, strict=True)
    }


def _check_values(access: Access, column: str, rule: Mapping[Any, float]) -> None:
    """Raises ValueError for a weight of a value that the whole dataset does not have, a misspelt name, or of a label
    that the selection does not have."""
    if column in _NUMBERS:
        known: Container[Any] = range(1000)
        names = "0 to 999"
    else:
        here = access.columns.words(column)[1]
        known = {*here, *{"label": LABELS, "split": SPLITS}.get(column, ())}
        if column == "synset":
            known.update(synsets())
        names = ", ".join(here)
    if column == "label":  # of two, so one that is not there is a mistake in the selection
        here = [here[code] for code in np.unique(access.take(access.columns.words(column)[0])).tolist()]
        known, names = set(here), ", ".join(here)
    unknown = [value for value in rule if value not in known]
    if unknown:
        raise ValueError(
            f"mix has weights for the {column} {', '.join(map(repr, unknown))}; "
            f"{access.store.name if access.whole or column != 'label' else 'the selection'} has {names or 'none'}"
        )
