"""Axes and numbers of charts: where ticks are and how values are written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

NONE = "\N{EN DASH}"  # in place of a missing number


@dataclass(frozen=True)
class Scale:
    """Maps values `low..high` to places `start..end`; `log` spaces them by ratio (then low > 0)."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high = self._bend(self.low), self._bend(self.high)
        share = (self._bend(max(value, self.low)) - low) / ((high - low) or 1.0)
        return self.start + (self.end - self.start) * min(1.0, share)

    def _bend(self, value: float) -> float:
        return math.log(value) if self.log else value

    def ticks(self, count: int = 5) -> list[float]:
        """About `count` round values within the scale."""
        return log_ticks(self.low, self.high, count) if self.log else linear_ticks(self.low, self.high, count)


def linear_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Multiples of 1, 2, 2.5 or 5 times a power of ten, about `count` of them, from low to high."""
    if not high > low:
        return [low]
    rough = (high - low) / max(1, count)
    unit: float = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def log_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Powers of two when the range spans few of them, else powers of ten, thinned to about `count`."""
    base = 2 if high / low <= 2**12 else 10
    first = math.ceil(math.log(low, base) - 1e-9)
    last = math.floor(math.log(high, base) + 1e-9)
    every = max(1, math.ceil((last - first + 1) / max(1, count)))
    return [float(base) ** i for i in range(first, last + 1, every)]


def top(values: Sequence[float]) -> float:
    """An upper end for an axis from zero: the next round number above the largest value."""
    largest = max(values, default=0.0)
    if largest <= 0:
        return 1.0
    step = linear_ticks(0, largest, 4)
    width = step[1] - step[0] if len(step) > 1 else largest
    return math.ceil(largest / width - 1e-9) * width


def number(value: float) -> str:
    """1,234,567; 1,234; 12.3; 0.123: thousands separated, three or more significant digits."""
    if math.isnan(value):
        return NONE
    if float(value).is_integer() or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def short(value: float) -> str:
    """For axes: 1.5 k, 2 M."""
    for limit, suffix in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{suffix}"
    return f"{value:.3g}"


def percent(share: float, digits: int = 1) -> str:
    """12.3 %; 100 % and 0 % only when exactly so: one sample in a million is < 0.1 %."""
    if math.isnan(share):
        return NONE
    step = 10.0**-digits
    if share in (0, 1):
        return f"{share:.0%}".replace("%", " %")
    if 0 < share * 100 < step:
        return f"< {step:g} %"
    if 100 - step < share * 100 < 100:
        return f"> {100 - step:g} %"
    return f"{share * 100:.{digits}f} %"


def size(size_bytes: float) -> str:
    """Bytes in decimal units: 812 B, 3.1 MB, 620 GB."""
    for limit, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size_bytes >= limit:
            return f"{size_bytes / limit:.3g} {unit}"
    return f"{size_bytes:.0f} B"


def dimensions(width: int, height: int) -> str:
    """Width and height, with the multiplication sign between them."""
    return f"{width} \N{MULTIPLICATION SIGN} {height}"
