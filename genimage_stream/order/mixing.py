"""How often samples come: shares for generators, labels, classes; exact in every epoch, resumable like any order.

A mix is a mapping from columns to rules, the outermost column first.
`{"label": "equal", "generator": {"sd14": 2, "adm": 1}}` gives half of an epoch to each label, and within a label two
thirds to sd14. A rule is

* `"equal"`: the same share for every value there is;
* a temperature T > 0: shares in proportion to size ** (1 / T), so 1 keeps the proportions and large T evens them out;
* a mapping from every value there is to its weight; 0 omits it.

The samples of a group come round by round: each round is all of them once, and an epoch takes up where the last one
stopped. So a sample comes again only after every other one of its group has come in its round, within an epoch and
across epochs, and over many epochs all come equally often. An epoch that takes no more of a group than there is has no
sample of it twice, also where it takes the end of one round and the beginning of the next (see `_round_part`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from genimage_stream.arguments import whole
from genimage_stream.order.plan import STREAM_ROUND, Order, permutation

if TYPE_CHECKING:
    from typing import TypeGuard

Rule = Literal["equal"] | float | Mapping[Any, float]
Mix = Mapping[str, Rule]
EpochSize = int | Literal["all", "min", "max"]

_LONGEST_NAME = 200  # characters of a mix in a state


@dataclass(frozen=True)
class Group:
    """Samples that share the values of the mix's columns: `rows` of the index, rising, and how many an epoch takes."""

    values: tuple[Any, ...]
    rows: npt.NDArray[np.int64]
    share: float
    quota: int


def check_mix(mix: object) -> None:
    """Raises ValueError for anything but a mapping with at least one column."""
    if not isinstance(mix, Mapping):
        raise ValueError(f'mix={mix!r}: a mapping from columns to rules is needed, e.g. {{"label": "equal"}}')
    if not mix:
        raise ValueError("mix={}: name at least one column")


def epoch_size(value: object) -> EpochSize:
    """The samples of an epoch with a mix. Raises ValueError for anything but a number or one of the three words."""
    if isinstance(value, str) and value in ("all", "min", "max"):
        return value  # type: ignore[return-value]
    return whole("epoch_size", value, 1, ', or "all", "min" or "max"')


class Mixture:
    """A mix worked out for groups of samples, their rows by the values of the mix's columns: shares and quotas.

    `size` samples make an epoch: a number, "all" (as many as there are), "min" (as many as possible before any group
    repeats a sample), or "max" (as few as needed for every sample to come). Quotas are shares of that, rounded by the
    largest remainders. Raises ValueError for a rule that does not fit the groups.
    """

    def __init__(
        self, found: Mapping[tuple[Any, ...], npt.NDArray[np.int64]], mix: Mix, size: EpochSize = "all"
    ) -> None:
        shares = _shares(mix, {values: len(rows) for values, rows in found.items()})
        kept = [(values, found[values], share) for values, share in sorted(shares.items()) if share > 0]
        ratios = [len(rows) / share for _, rows, share in kept]
        # A margin for the rounding of shares, or 2 / (2 / 3) would be one sample short.
        if size == "all":
            total = sum(map(len, found.values()))
        elif size == "min":
            total = math.floor(min(ratios) * (1 + 1e-12))
        elif size == "max":
            total = math.ceil(max(ratios) * (1 - 1e-12))
        else:
            total = int(epoch_size(size))
        quotas = largest_remainders([share for *_, share in kept], total)
        self.groups = [Group(*group, quota) for group, quota in zip(kept, quotas, strict=True)]
        self.size = total

    def order(self, *, seed: int, epoch: int) -> Order:
        """The samples of one epoch, group by group; `occurrences` tell visits to the same one apart."""
        rows, occurrences = [], []
        for number, group in enumerate(self.groups):
            places, visits = rounds(
                len(group.rows), group.quota, seed=seed, epoch=epoch, stream=STREAM_ROUND | number << 8
            )
            rows.append(group.rows[places])
            occurrences.append(visits)
        return Order(np.concatenate(rows), np.concatenate(occurrences))


def rounds(
    n: int, quota: int, *, seed: int, epoch: int, stream: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """What epoch number `epoch` takes of n samples at `quota` an epoch: places, and for each the round it belongs to,
    counted from the first that this epoch touches."""
    first, last = epoch * quota, (epoch + 1) * quota
    places, visits = [], []
    for number in range(first // n, -(-last // n)):
        begin, end = max(first - number * n, 0), min(last - number * n, n)
        part = _round_part(n, quota, number, begin, end, seed=seed, stream=stream)
        places.append(part)
        visits.append(np.full(len(part), number - first // n, np.int64))
    if not places:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    return np.concatenate(places), np.concatenate(visits)


# An epoch of quota <= n samples that takes the end of one round takes the *head* of the next, and the two may share no
# sample. Three rules make that so, at no more cost than two permutations of n:
#
# * A round's head is that of its own random permutation. Where its order puts samples of the next round's head at its
#   end, they change places with others before the end that are of neither head. Those are enough as long as the head
#   of the round itself has at most n - quota samples.
# * Where it has more, which takes quota > n / 2, the round has the order of the one before it: any quota <= n
#   successive samples of one order, gone round and round, differ. The *chain* of rounds with one order ends with the
#   first short head, so what stood for one round above stands for a chain.
# * With quota > n samples have to come twice in an epoch; every round then has its own permutation.


def _round_part(
    n: int, quota: int, number: int, begin: int, end: int, *, seed: int, stream: int
) -> npt.NDArray[np.int64]:
    """Places begin .. end of a round, where an epoch takes them."""
    if quota > n:
        return permutation(n, seed=seed, epoch=number, stream=stream)[begin:end]
    chain, following = _chain(n, quota, number)
    order = permutation(n, seed=seed, epoch=chain, stream=stream)
    head, next_head = _head(n, quota, chain), _head(n, quota, following)
    if next_head and not (number == chain and end <= head):
        clash: npt.NDArray[np.bool_] = np.zeros(n, bool)
        clash[permutation(n, seed=seed, epoch=following, stream=stream)[:next_head]] = True
        clash = clash[order]
        tail = n - (quota - next_head)
        wrong = tail + np.flatnonzero(clash[tail:])
        right = head + np.flatnonzero(~clash[head:tail])
        right = right[len(right) - len(wrong) :]
        order[wrong], order[right] = order[right], order[wrong]
    return order[begin:end]


def _head(n: int, quota: int, number: int) -> int:
    """Samples of a round that are taken by an epoch which begins in the round before."""
    return -number * n % quota


def _chain(n: int, quota: int, number: int) -> tuple[int, int]:
    """The rounds, from the first to one past the last, that have the same order as this one."""
    spare = n - quota
    head = _head(n, quota, number)
    # From one round to the next the head loses n - quota samples, modulo the quota.
    first = number if head <= spare else number + (head - quota) // spare
    head = _head(n, quota, number + 1)
    return first, number + 1 if head <= spare else number + 1 - (spare - head) // spare


def largest_remainders(shares: list[float], total: int) -> list[int]:
    """Whole numbers in proportion to shares, which add up to 1, that add up to `total`; ties go to the earlier one."""
    exact = [share * total for share in shares]
    quotas = [math.floor(x) for x in exact]
    left = total - sum(quotas)
    for place in sorted(range(len(shares)), key=lambda i: (quotas[i] - exact[i], i))[:left]:
        quotas[place] += 1
    return quotas


def plain_mix(mix: Mix) -> list[Any] | str:
    """A mix as a state holds it: plain values, so that it still compares equal after JSON; a long one as its digest, so
    that a state stays small with a weight for each of a thousand classes."""
    plain: list[Any] = [
        [column, rule if rule == "equal" else _plain_weights(rule) if isinstance(rule, Mapping) else float(rule)]
        for column, rule in mix.items()
    ]
    text = json.dumps(plain)
    return plain if len(text) <= _LONGEST_NAME else f"blake2b:{blake2b(text.encode(), digest_size=16).hexdigest()}"


def _plain_weights(rule: Mapping[Any, float]) -> list[list[Any]]:
    return sorted([value if isinstance(value, str) else int(value), float(w)] for value, w in rule.items())


def _shares(mix: Mix, sizes: dict[tuple[Any, ...], int]) -> dict[tuple[Any, ...], float]:
    """Every group's share: the product of the shares of its values, each among its siblings."""
    (column, rule), *inner = mix.items()
    totals: dict[Any, int] = {}
    for (value, *_), size in sizes.items():
        totals[value] = totals.get(value, 0) + size
    weights = _weights(column, rule, totals)
    whole = sum(weights.values())
    shares: dict[tuple[Any, ...], float] = {}
    for value, weight in weights.items():
        below = {values[1:]: size for values, size in sizes.items() if values[0] == value}
        parts = _shares(dict(inner), below) if inner else {(): 1.0}
        shares |= {(value, *values): weight / whole * part for values, part in parts.items()}
    return shares


def _weights(column: str, rule: Rule, sizes: dict[Any, int]) -> dict[Any, float]:
    if rule == "equal":
        return dict.fromkeys(sizes, 1.0)
    if isinstance(rule, Mapping):
        # Inside another column a value may be missing on one side: its weight then counts for nothing there.
        missing = [value for value in sizes if value not in rule]
        if missing:
            raise ValueError(
                f"mix has no weight for the {column} {', '.join(map(repr, missing))}; a weight of 0 omits it"
            )
        no_numbers = [f"{value!r}: {rule[value]!r}" for value in sizes if not _is_number(rule[value])]
        if no_numbers:
            raise ValueError(f"mix needs numbers as weights for {column}; it has {', '.join(no_numbers)}")
        weights = {value: float(rule[value]) for value in sizes}
        bad = [f"{value!r}: {w}" for value, w in weights.items() if not (w >= 0 and math.isfinite(w))]
        if bad or not 0 < sum(weights.values()) < math.inf:
            raise ValueError(
                f"mix needs weights of 0 or more for {column}, one above 0; it has {', '.join(bad) or 'none'}"
            )
        return weights
    if _is_number(rule) and rule > 0:
        largest = max(sizes.values())
        return {value: (size / largest) ** (1 / rule) for value, size in sizes.items()}
    raise ValueError(f'mix has the rule {rule!r} for {column}: "equal", a temperature above 0, or a mapping of weights')


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, Real) and not isinstance(value, bool)
