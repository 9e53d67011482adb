"""What a machine offers: sizes in bytes as people write them, and the CPUs and memory that this process may use."""

from __future__ import annotations

import math
import os
import re
from contextlib import suppress
from pathlib import Path

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


def memory_bytes(cgroups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int:
    """Bytes of memory that this process may use: the machine's, or its cgroup's limit where that is lower.

    `cgroups` and `own` are where Linux shows them; both versions of cgroups are understood.
    """
    least = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return least
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, file = cgroups, "memory.max"
        elif "memory" in controllers.split(","):
            root, file = cgroups / "memory", "memory.limit_in_bytes"
        else:
            continue
        group = root / path.lstrip("/")
        # In a container the path is often that of the host, and the limit that holds is at the root.
        for folder in [group, *group.parents]:
            with suppress(OSError, ValueError):  # there is none: "max"
                least = min(least, int((folder / file).read_text()))
            if folder == root:
                break
    return max(1, least)


def decoding_memory() -> int:
    """Bytes for images under way, unless somebody says otherwise: a quarter of the memory, at most 2 GB."""
    return min(2 * 10**9, memory_bytes() // 4)
