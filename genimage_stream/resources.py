"""What a machine offers: sizes in bytes as people write them, and the CPUs that this process may use."""

from __future__ import annotations

import math
import os
import re

import numpy as np

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}


def parse_size(size: int | float | str) -> int:
    """Bytes of 50_000_000_000, 5e10, "50GB", "46GiB", "1.5 MB", "500k": decimal units, binary ones with an i.

    Raises ValueError for anything else.
    """
    if isinstance(size, (int, float, np.integer)) and not isinstance(size, bool) and math.isfinite(size):
        found = float(size)
    else:
        match = re.fullmatch(r"\s*([0-9.]+)\s*([KMGT]?I?)B?\s*", str(size).upper())
        if match is None or match[2] not in _UNITS or match[1].count(".") > 1 or match[1] == ".":
            raise ValueError(f'{size!r} is not a size: write "50GB" or a number of bytes')
        found = float(match[1]) * _UNITS[match[2]]
    if found < 0:
        raise ValueError(f"{size!r} is not a size: it is negative")
    return int(found)


def cores() -> int:
    """CPUs that this process may run on, at least 1."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
