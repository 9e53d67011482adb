"""What a machine offers: sizes in bytes as people write them, and the CPUs and memory that this process may use."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

CGROUPS, OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")

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
    """CPUs that this process may use, at least 1: those it may run on, and no more than the quota of its cgroups."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    return found if quota is None else max(1, min(found, math.ceil(quota)))


def cores_of_rank() -> int:
    """This process's share of `cores`, where torchrun or accelerate started LOCAL_WORLD_SIZE processes on a machine."""
    return max(1, cores() // (local_world_size() or 1))


def local_world_size() -> int | None:
    """Processes of torchrun on this machine; None where it did not start this one."""
    processes = os.environ.get("LOCAL_WORLD_SIZE", "")
    return max(1, int(processes)) if processes.isdecimal() else None


def cpu_quota(cgroups: Path = CGROUPS, own: Path = OWN_GROUPS) -> float | None:
    """CPUs' worth of time that this process's cgroups allow, as containers and batch systems set it; None: no limit."""
    limits = []
    for folder, version in _groups("cpu", cgroups, own):
        with suppress(OSError, ValueError):  # there is none: "max"
            if version == 2:
                quota, period = (folder / "cpu.max").read_text().split()
            else:
                quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
            if int(quota) > 0 and int(period) > 0:
                limits.append(int(quota) / int(period))
    return min(limits, default=None)


def memory_bytes(cgroups: Path = CGROUPS, own: Path = OWN_GROUPS) -> int:
    """Bytes of memory that this process may use: the machine's, or its cgroups' lowest limit where that is lower."""
    least = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for folder, version in _groups("memory", cgroups, own):
        with suppress(OSError, ValueError):  # there is none: "max"
            least = min(least, int((folder / ("memory.max" if version == 2 else "memory.limit_in_bytes")).read_text()))
    return max(1, least)


def _groups(controller: str, cgroups: Path, own: Path) -> Iterator[tuple[Path, int]]:
    """The cgroups of this process that may limit something, and those around them, with the version of cgroups.

    `cgroups` and `own` are where Linux shows them.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = cgroups / controller if controllers else cgroups
        # In a container the path is often that of the host, and the limit that holds is at the root.
        group = root.joinpath(*(part for part in path.split("/") if part not in ("", "..")))
        for folder in [group, *group.parents]:
            yield folder, 1 if controllers else 2
            if folder == root:
                break


def decoding_memory() -> int:
    """Bytes for images under way, unless somebody says otherwise: a quarter of the memory, at most 2 GB."""
    return min(2 * 10**9, memory_bytes() // 4)
